-- +goose Up
-- The resources that the token is restricted to, separated by spaces. NULL means all.
ALTER TABLE `tokenauth_tokens` ADD COLUMN resources BLOB;
