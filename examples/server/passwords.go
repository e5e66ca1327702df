package main

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A stored password has the form algorithm$iterations$salt$hash. Because it contains the number of
// iterations, a new version of the program can use more iterations for new passwords.
const (
	algorithm = "pbkdf2-sha256"
	saltSize  = 16
)

var iterations = 600_000 // as OWASP recommends for this algorithm; tests use fewer

// nobodysPassword returns a stored password that checkPassword compares with if the user does not
// exist.
func nobodysPassword() string {
	return encodePassword(iterations, make([]byte, saltSize), make([]byte, sha256.Size))
}

func encodePassword(iterations int, salt, hash []byte) string {
	encode := base64.RawStdEncoding.EncodeToString
	return strings.Join([]string{algorithm, strconv.Itoa(iterations), encode(salt), encode(hash)}, "$")
}

func hashPassword(password string) (string, error) { return hashPasswordWith(iterations, password) }

func hashPasswordWith(iterations int, password string) (string, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	hash, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return encodePassword(iterations, salt, hash), nil
}

// stampOf returns a text that changes with the stored password. Each stored password has a salt of
// its own, so the stamp changes even if a user sets the same password again.
func stampOf(stored string) string {
	hash := sha256.Sum256([]byte(stored))
	return base64.RawStdEncoding.EncodeToString(hash[:])
}

func passwordMatches(stored, password string) (bool, error) {
	fields := strings.Split(stored, "$")
	if len(fields) != 4 || fields[0] != algorithm {
		return false, errors.New("the stored password has an unknown format")
	}
	iterations, err := strconv.Atoi(fields[1])
	salt, badSalt := base64.RawStdEncoding.DecodeString(fields[2])
	want, badHash := base64.RawStdEncoding.DecodeString(fields[3])
	if err := errors.Join(err, badSalt, badHash); err != nil {
		return false, errors.New("the stored password is malformed") // the error must not contain the stored password
	}
	got, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return false, fmt.Errorf("hash password: %w", err)
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}
