package servers

import "strings"

// Nginx starts an nginx. The function site receives the address on which nginx must listen, and
// returns the directives of the block "http". The settings are directives outside of that block,
// such as "error_log stderr info;".
func Nginx(site func(addr string) string, settings ...string) (*ProxyServer, error) {
	return onPorts(1, func(ports []int) (*ProxyServer, error) { return newNginx(ports[0], site, settings) })
}

// newNginx starts nginx without the process that watches its workers. If that process is killed,
// its workers continue to run.
func newNginx(port int, site func(addr string) string, settings []string) (*ProxyServer, error) {
	config := strings.Join(append(settings,
		"daemon off;",
		"master_process off;",
		"pid pid;",
		"events {}",
		"http {",
		"access_log access.log;",
		"client_body_temp_path body;",
		"proxy_temp_path proxy;",
		"fastcgi_temp_path fastcgi;",
		"uwsgi_temp_path uwsgi;",
		"scgi_temp_path scgi;",
		site(address(port)),
		"}",
	), "\n")
	return newProxy("nginx", "www-data", port, config, "nginx", "-p", ".", "-c", "config", "-e", "stderr")
}
