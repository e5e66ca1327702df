package tokenauth

// OnNewKey makes m pass each new key to f and use the key that f returns.
func OnNewKey(m *Manager, f func(Key) Key) {
	generate := m.newKey
	m.newKey = func(prefix string) Key { return f(generate(prefix)) }
}

// GenerateKey returns a new random key with the given prefix, as [Manager.Issue] generates it.
func GenerateKey(prefix string) string { return generateKey(prefix).Reveal() }
