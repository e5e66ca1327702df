-- +goose Up
-- Who created the token. NULL means unknown.
ALTER TABLE `tokenauth_tokens` ADD COLUMN created_by VARBINARY(255);
