/** How to get to the server, which is all that the URL of a database says: the driver lets any other parameter undo what we set. */
const PARAMETERS = [
  'host',
  'ssl',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'sslnegotiation',
  'uselibpqcompat',
]

/** What is wrong with a `postgres://…` URL, for whoever set it; undefined when nothing is. Repeats no value. */
export function postgresUrlProblem(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined
  const names = new Set(new URL(url).searchParams.keys())
  const others = [...names].filter((name) => !PARAMETERS.includes(name))
  if (others.length === 0) return undefined
  // A password with a ? in it reads as parameters.
  const named = others.map((name) =>
    /^[a-z_]+$/i.test(name) ? name : 'what is no name of one (%3F is a ? in a password)',
  )
  return (
    `after the ? it takes ${PARAMETERS.join(', ')} alone: take out ${named.join(', ')}. ` +
    "What the server should do otherwise is set there: ALTER ROLE … SET work_mem = '8MB'"
  )
}
