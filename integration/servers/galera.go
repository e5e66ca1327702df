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
)

// A GaleraCluster is three MariaDB servers that take writes for each other.
type GaleraCluster struct{ Nodes [3]*MariaDBServer }

// Galera starts a new cluster and returns when all nodes are part of it. A node that
// was killed or stopped starts again as part of the cluster, if the others have a
// majority: its Start returns when it has all data.
//
// A node that doesn't answer is shut out after a second instead of five.
func Galera() (*GaleraCluster, error) {
	return onPorts(4*3, func(ports []int) (*GaleraCluster, error) {
		c := new(GaleraCluster)
		if err := c.start(ports); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return c, nil
	})
}

func (c *GaleraCluster) start(ports []int) error {
	var group []string // where the nodes talk to each other
	for i := range c.Nodes {
		group = append(group, address(ports[3+i]))
	}
	for i := range c.Nodes {
		settings, err := nodeSettings(i, group, address(ports[6+i]), address(ports[9+i]))
		if err != nil {
			return err
		}
		c.Nodes[i], err = newMariaDB(ports[i], settings, func(m *MariaDBServer) error {
			m.prepare = m.recoverPosition
			m.answers = m.synced
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
		if err := node.Start(); err != nil { // gets its data from the first
			return err
		}
	}
	return nil
}

// nodeSettings returns the settings of the node with the index i, which gets recent
// changes at one address and a copy of all data at another.
func nodeSettings(i int, group []string, changes, all string) ([]string, error) {
	library, err := installed("libgalera_smm.so")
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"rsync", "lsof"} { // which make the copy
		if _, err := installed(program); err != nil {
			return nil, err
		}
	}
	return []string{
		"innodb_log_file_size=32M",
		"binlog_format=ROW",
		"innodb_autoinc_lock_mode=2",
		"innodb_flush_log_at_trx_commit=2", // the other nodes have what a crash loses here
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
			"evs.suspect_timeout=PT1S",
			"evs.inactive_check_period=PT0.3S",
			"evs.keepalive_period=PT0.3S",
		}, ";") + `"`,
	}, nil
}

// recoverPosition does what Debian's service does before each start: it lets a node
// that was killed recover first. If that happened after the node got the data of
// another, it could undo a change to a table there that it was killed in. And a node
// that knows its position gets the changes since, if it can, and not all data.
func (m *MariaDBServer) recoverPosition() ([]string, error) {
	if _, err := os.Stat(filepath.Join(m.data(), "grastate.dat")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it never was part of a cluster
	}
	log, err := m.run(append(m.command, "--wsrep-recover")...)
	if err != nil {
		return nil, err
	}
	found := regexp.MustCompile(`WSREP: Recovered position: *(\S+)`).FindSubmatch(log)
	if found == nil {
		return nil, fmt.Errorf("MariaDB: no position recovered\n%s", tail(log))
	}
	return []string{"--wsrep-start-position=" + string(found[1])}, nil
}

// Forget makes a stopped node take all data from another node at its next start. It is needed after
// Bootstrap: a killed node may hold a last write that the bootstrapped node never got. If the killed
// node took only the changes since then, it would keep that write.
func (m *MariaDBServer) Forget() error { return os.Remove(filepath.Join(m.data(), "grastate.dat")) }

// Bootstrap makes a node that has lost the majority go on alone. The others can then
// be started again.
func (c *GaleraCluster) Bootstrap(node *MariaDBServer) error {
	if err := node.ask("SET GLOBAL wsrep_provider_options='pc.bootstrap=YES'"); err != nil {
		return err
	}
	return node.await("go on alone", node.synced)
}

// synced is nil when the node is part of a cluster and has all its data.
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
	return errors.Join(errs...)
}
