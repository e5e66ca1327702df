-- +goose Up
-- resources: the resources that the token is restricted to, separated by spaces. NULL means all.
-- created_by: who created the token, at most 255 bytes. NULL means unknown.
-- revoked_by: who revoked the token, at most 255 bytes. NULL means unknown.
-- imported_expires_at: the expiry that the token had where it was imported from.
--
-- These statements do not rewrite the table, but lock it until the transaction ends. Therefore the
-- indexes have a file of their own.
ALTER TABLE "tokenauth_tokens" ADD COLUMN resources TEXT COLLATE "C";
ALTER TABLE "tokenauth_tokens" ADD COLUMN created_by TEXT COLLATE "C";
ALTER TABLE "tokenauth_tokens" ADD COLUMN revoked_by TEXT COLLATE "C";
ALTER TABLE "tokenauth_tokens" ADD COLUMN imported_expires_at BIGINT;
