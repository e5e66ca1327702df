-- +goose Up
-- This table holds the tokens of all users, on PostgreSQL.
--
-- Times are microseconds since 1970 in UTC. NULL means never. Digests are SHA-256 hashes.
-- live_name and slot are NULL if a token is revoked, so their unique keys apply to live
-- tokens only. COLLATE "C" compares texts byte by byte. fillfactor leaves free space on each
-- page, so that an UPDATE of last_used_at does not change an index.
CREATE TABLE "tokenauth_tokens" (
    id             TEXT COLLATE "C" NOT NULL,
    user_id        TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    live_name      TEXT COLLATE "C",
    slot           INTEGER,
    scopes         TEXT COLLATE "C" NOT NULL,
    hint           TEXT COLLATE "C" NOT NULL,
    generation     INTEGER NOT NULL,
    origin         TEXT COLLATE "C" NOT NULL,
    digest         BYTEA   NOT NULL CHECK (octet_length(digest) = 32),
    retired_digest BYTEA   CHECK (octet_length(retired_digest) = 32),
    retired_until  BIGINT,
    created_at     BIGINT  NOT NULL,
    expires_at     BIGINT,
    last_used_at   BIGINT,
    revoked_at     BIGINT,
    PRIMARY KEY (id),
    UNIQUE (digest),
    UNIQUE (retired_digest),
    UNIQUE (user_id, live_name),
    UNIQUE (user_id, slot),
    CHECK ((retired_digest IS NULL) = (retired_until IS NULL)),
    CHECK ((live_name IS NULL) = (revoked_at IS NOT NULL)),
    CHECK (slot IS NULL OR revoked_at IS NULL)
) WITH (fillfactor = 90);

CREATE INDEX IF NOT EXISTS "tokenauth_tokens.user_created" ON "tokenauth_tokens" (user_id, created_at, id);
CREATE INDEX IF NOT EXISTS "tokenauth_tokens.created" ON "tokenauth_tokens" (created_at, id);
CREATE INDEX IF NOT EXISTS "tokenauth_tokens.expires" ON "tokenauth_tokens" (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS "tokenauth_tokens.revoked" ON "tokenauth_tokens" (revoked_at) WHERE revoked_at IS NOT NULL;
