-- +goose Up
-- This table holds the tokens of all users, on SQLite 3.37 or newer.
--
-- Times are microseconds since 1970 in UTC. NULL means never. Digests are SHA-256 hashes.
-- live_name and slot are NULL if a token is revoked, so their unique keys apply to live
-- tokens only.
CREATE TABLE "tokenauth_tokens" (
    id             TEXT    NOT NULL,
    user_id        TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    live_name      TEXT,
    slot           INTEGER,
    scopes         TEXT    NOT NULL,
    hint           TEXT    NOT NULL,
    generation     INTEGER NOT NULL,
    origin         TEXT    NOT NULL,
    digest         BLOB    NOT NULL CHECK (length(digest) = 32),
    retired_digest BLOB    CHECK (length(retired_digest) = 32),
    retired_until  INTEGER,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER,
    last_used_at   INTEGER,
    revoked_at     INTEGER,
    PRIMARY KEY (id),
    UNIQUE (digest),
    UNIQUE (retired_digest),
    UNIQUE (user_id, live_name),
    UNIQUE (user_id, slot),
    CHECK ((retired_digest IS NULL) = (retired_until IS NULL)),
    CHECK ((live_name IS NULL) = (revoked_at IS NOT NULL)),
    CHECK (slot IS NULL OR revoked_at IS NULL)
) STRICT;

CREATE INDEX IF NOT EXISTS "tokenauth_tokens.user_created" ON "tokenauth_tokens" (user_id, created_at, id);
CREATE INDEX IF NOT EXISTS "tokenauth_tokens.created" ON "tokenauth_tokens" (created_at, id);
CREATE INDEX IF NOT EXISTS "tokenauth_tokens.expires" ON "tokenauth_tokens" (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS "tokenauth_tokens.revoked" ON "tokenauth_tokens" (revoked_at) WHERE revoked_at IS NOT NULL;
