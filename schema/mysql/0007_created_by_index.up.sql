-- +goose Up
-- This index is for the tokens of one creator.
CREATE INDEX created_by ON `tokenauth_tokens` (created_by, created_at, id);
