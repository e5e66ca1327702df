-- +goose Up
-- This index is for pages of all users' live tokens.
CREATE INDEX live ON `tokenauth_tokens` (revoked_at, created_at, id);
