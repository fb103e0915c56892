-- What is over, by when that was: tokens of both kinds, and executors that were deleted.
CREATE INDEX tokens_by_end ON novacula.tokens (expire_time, id);
CREATE INDEX join_tokens_by_end ON novacula.join_tokens (expire_time, id);
CREATE INDEX executors_by_deletion ON novacula.executors (delete_time, uid) WHERE delete_time IS NOT NULL;
