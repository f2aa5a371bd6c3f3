/** What nodes tell each other. */
export const NEWS = `
  CREATE TABLE news (
    news_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node_id TEXT COLLATE "C" NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('audit', 'decisions', 'messages')),
    org_id TEXT COLLATE "C",
    first_seq BIGINT,
    last_seq BIGINT,
    body TEXT,
    CHECK ((kind = 'audit') = (org_id IS NOT NULL AND first_seq IS NOT NULL AND last_seq IS NOT NULL))
  );
`
