-- +goose Up
-- This table holds the tokens of all users, on MySQL and MariaDB.
--
-- Times are microseconds since 1970 in UTC. NULL means never. Digests are SHA-256 hashes.
-- live_name and slot are NULL if a token is revoked, so their unique keys apply to live
-- tokens only. Texts are stored as the bytes of their UTF-8, because the collations of text
-- columns treat some different names as equal.
CREATE TABLE `tokenauth_tokens` (
    id             VARBINARY(64)  NOT NULL,
    user_id        VARBINARY(255) NOT NULL,
    name           VARBINARY(256) NOT NULL,
    live_name      VARBINARY(256),
    slot           INTEGER,
    scopes         BLOB           NOT NULL,
    hint           VARBINARY(16)  NOT NULL,
    generation     INTEGER        NOT NULL,
    origin         VARBINARY(64)  NOT NULL,
    digest         BINARY(32)     NOT NULL,
    retired_digest BINARY(32),
    retired_until  BIGINT,
    created_at     BIGINT         NOT NULL,
    expires_at     BIGINT,
    last_used_at   BIGINT,
    revoked_at     BIGINT,
    PRIMARY KEY (id),
    UNIQUE (digest),
    UNIQUE (retired_digest),
    UNIQUE (user_id, live_name),
    UNIQUE (user_id, slot),
    INDEX user_created (user_id, created_at, id),
    INDEX created (created_at, id),
    INDEX expires (expires_at),
    INDEX revoked (revoked_at),
    CHECK ((retired_digest IS NULL) = (retired_until IS NULL)),
    CHECK ((live_name IS NULL) = (revoked_at IS NOT NULL)),
    CHECK (slot IS NULL OR revoked_at IS NULL)
) ENGINE = InnoDB;
