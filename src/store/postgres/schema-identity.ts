/** Which database this is, so that a copy of it is known as one. The generation is in `meta`. */
export const IDENTITY = `
  CREATE TABLE store_identity (
    one SMALLINT PRIMARY KEY CHECK (one = 1),
    store_id TEXT NOT NULL,
    server TEXT,
    relation TEXT,
    timeline BIGINT,
    synchronous_at_ms BIGINT,
    restored_at_ms BIGINT,
    keep_keys SMALLINT NOT NULL DEFAULT 0 CHECK (keep_keys IN (0, 1))
  );
  INSERT INTO store_identity (one, store_id) VALUES (1, gen_random_uuid());
`

/** The timeline of which an operator said that nothing was lost. */
export const ACCEPTED = 'ALTER TABLE store_identity ADD COLUMN accepted_timeline BIGINT'
