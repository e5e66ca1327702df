CREATE TABLE projects (id VARCHAR(100) NOT NULL PRIMARY KEY);

-- name: CreateProject :exec
INSERT INTO projects (id) VALUES ($1);
