-- +goose Up
-- This index is for pages of a user's live tokens.
CREATE INDEX user_live ON `tokenauth_tokens` (user_id, revoked_at, created_at, id);
