package tokenauth

// OnNewKey lets f see, and replace, each key that m makes.
func OnNewKey(m *Manager, f func(Key) Key) {
	generate := m.newKey
	m.newKey = func(prefix string) Key { return f(generate(prefix)) }
}

// GenerateKey makes a key as a Manager does.
func GenerateKey(prefix string) string { return generateKey(prefix).Reveal() }
