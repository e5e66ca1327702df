package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A GaleraCluster is a cluster of three MariaDB servers. A client can write to each of them.
type GaleraCluster struct {
	Nodes    [3]*MariaDBServer
	patience time.Duration
	ports    []int
}

// Galera starts a new cluster, and returns when all nodes have joined it. To restart a killed or
// stopped node, call its Start method. The other two nodes must be running. Start returns when the
// node has joined the cluster and has all data.
//
// The cluster excludes a node that has not responded for the time patience, in whole seconds. The
// default of Galera is five seconds.
func Galera(patience time.Duration) (*GaleraCluster, error) {
	return onPorts(4*3, func(ports []int) (*GaleraCluster, error) {
		c := &GaleraCluster{patience: patience, ports: ports}
		if err := c.start(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return c, nil
	})
}

func (c *GaleraCluster) start() error {
	var group []string // addresses at which the nodes connect to each other
	for i := range c.Nodes {
		group = append(group, address(c.ports[3+i]))
	}
	for i := range c.Nodes {
		settings, err := c.nodeSettings(i, group)
		if err != nil {
			return err
		}
		c.Nodes[i], err = newMariaDB(c.ports[i], settings, func(m *MariaDBServer) error {
			m.prepare = m.recoverPosition
			m.ready = m.synced
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := c.Nodes[0].install(); err != nil {
		return err
	}
	if err := c.Nodes[0].start("--wsrep-new-cluster"); err != nil {
		return err
	}
	for _, node := range c.Nodes[1:] {
		if err := node.Start(); err != nil { // copies its data from the first node
			return err
		}
	}
	return nil
}

// nodeSettings returns the settings of the node with index i. The nodes connect to each other at
// the addresses in group.
func (c *GaleraCluster) nodeSettings(i int, group []string) ([]string, error) {
	library, err := installed("libgalera_smm.so")
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"rsync", "lsof"} { // Galera copies the data with these programs
		if _, err := installed(program); err != nil {
			return nil, err
		}
	}
	changes, all := address(c.ports[6+i]), address(c.ports[9+i]) // to receive recent changes, and a copy of all data
	return []string{
		"innodb_log_file_size=32M",
		"binlog_format=ROW",
		"innodb_autoinc_lock_mode=2",
		"innodb_flush_log_at_trx_commit=2", // after a crash, the node copies lost changes from another node
		"wsrep_on=ON",
		"wsrep_provider=" + library,
		"wsrep_cluster_name=tokenauth",
		"wsrep_cluster_address=gcomm://" + strings.Join(group, ","),
		fmt.Sprintf("wsrep_node_name=node%d", i+1),
		"wsrep_node_address=" + group[i],
		"wsrep_sst_method=rsync",
		"wsrep_sst_receive_address=" + all,
		`wsrep_provider_options="` + strings.Join([]string{
			"gmcast.listen_addr=tcp://" + group[i],
			"ist.recv_addr=" + changes,
			"gcache.size=16M",
			"pc.recovery=false",
			fmt.Sprintf("evs.suspect_timeout=PT%.0fS", c.patience.Seconds()),
			"evs.inactive_check_period=PT0.3S",
			"evs.keepalive_period=PT0.3S",
		}, ";") + `"`,
	}, nil
}

// recoverPosition lets a killed node recover before it starts, as the service of Debian does.
// Without recoverPosition, the node would recover after it has copied the data of another node. It
// could then undo the change of a table during which it was killed. A node that knows its position
// copies only the later changes, if the other node still has them, and not all data.
func (m *MariaDBServer) recoverPosition() ([]string, error) {
	if _, err := os.Stat(filepath.Join(m.data(), "grastate.dat")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the node has never joined a cluster
	}
	log, err := m.run(append(m.command, "--wsrep-recover")...)
	if err != nil {
		return nil, err
	}
	found := regexp.MustCompile(`WSREP: Recovered position: *(\S+)`).FindSubmatch(log)
	if found == nil {
		return nil, fmt.Errorf("MariaDB: recovered no position\n%s", tail(log))
	}
	return []string{"--wsrep-start-position=" + string(found[1])}, nil
}

// Forget makes a stopped node copy all data from another node at its next start. Call Forget for a
// killed node after Bootstrap. A killed node may have a last write that the bootstrapped node never
// received. If the killed node copied only the changes since then, it would keep this write.
func (m *MariaDBServer) Forget() error { return os.Remove(filepath.Join(m.data(), "grastate.dat")) }

// Bootstrap makes a node that has lost the majority form a new cluster alone. The other nodes can
// then be started again.
func (c *GaleraCluster) Bootstrap(node *MariaDBServer) error {
	if err := node.execLong("SET GLOBAL wsrep_provider_options='pc.bootstrap=YES'"); err != nil {
		return err
	}
	return node.await("bootstrap", node.synced)
}

// synced returns nil if the node has joined a cluster and has all data.
func (m *MariaDBServer) synced(ctx context.Context) error {
	var name, ready, state string
	if err := m.db.QueryRowContext(ctx, "SHOW STATUS LIKE 'wsrep_ready'").Scan(&name, &ready); err != nil {
		return err
	}
	if err := m.db.QueryRowContext(ctx, "SHOW STATUS LIKE 'wsrep_local_state_comment'").Scan(&name, &state); err != nil {
		return err
	}
	if ready != "ON" || state != "Synced" {
		return fmt.Errorf("%s, ready: %s", state, ready)
	}
	return nil
}

// Close closes all nodes.
func (c *GaleraCluster) Close() error {
	var errs []error
	for _, node := range c.Nodes {
		if node != nil {
			errs = append(errs, node.Close())
		}
	}
	release(c.ports...)
	return errors.Join(errs...)
}
