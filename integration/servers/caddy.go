package servers

// Caddy starts a Caddy. The function sites receives the address on which Caddy must listen, and
// returns the sites of a Caddyfile. The scheme of their addresses must be http.
func Caddy(sites func(addr string) string) (*ProxyServer, error) {
	return onPorts(1, func(ports []int) (*ProxyServer, error) { return newCaddy(ports[0], sites) })
}

func newCaddy(port int, sites func(addr string) string) (*ProxyServer, error) {
	config := "{\nadmin off\ndefault_bind 127.0.0.1\n}\n" + sites(address(port))
	return newProxy("Caddy", "caddy", port, config, "caddy", "run", "--config", "config", "--adapter", "caddyfile")
}
