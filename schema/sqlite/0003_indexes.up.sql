-- +goose Up
-- The first index is for pages of a user's live tokens, the second for pages of all users' live
-- tokens, and the third for the tokens of one creator.
CREATE INDEX IF NOT EXISTS "tokenauth_tokens.user_live" ON "tokenauth_tokens" (user_id, created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX IF NOT EXISTS "tokenauth_tokens.live" ON "tokenauth_tokens" (created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX IF NOT EXISTS "tokenauth_tokens.created_by" ON "tokenauth_tokens" (created_by, created_at, id) WHERE created_by IS NOT NULL;
