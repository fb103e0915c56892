-- What a browser's session stems from; a token without it is no session. Whoever signs out everywhere ends all of one origin.
ALTER TABLE tokens ADD COLUMN signed_in_by TEXT;

CREATE INDEX tokens_by_sign_in ON tokens (signed_in_by, id) WHERE signed_in_by IS NOT NULL;
