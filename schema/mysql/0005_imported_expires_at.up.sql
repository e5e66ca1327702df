-- +goose Up
-- The expiry that the token had where it was imported from.
ALTER TABLE `tokenauth_tokens` ADD COLUMN imported_expires_at BIGINT;
