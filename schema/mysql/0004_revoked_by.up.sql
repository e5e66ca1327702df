-- +goose Up
-- Who revoked the token. NULL means unknown.
ALTER TABLE `tokenauth_tokens` ADD COLUMN revoked_by VARBINARY(255);
