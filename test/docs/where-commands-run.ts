// The commands of the pages that test/docs/every-command.test.ts does not play itself.

interface Where {
  /** Relative to the project. */
  readonly file: string
  readonly heading: string
}

/** A command as it stands there; with `…` at its end, every one that begins so. */
type Commands = readonly string[]

interface Elsewhere extends Where {
  /** Or the number of all commands below that heading, every one of which that test plays. */
  readonly commands: Commands | number
  readonly test: string
  /** What stands in that test about them. */
  readonly named: string
}

interface NotRun extends Where {
  readonly commands: Commands
  readonly why: string
}

const TOUR = { file: 'README.md', heading: 'Two minutes: a stopped agent' }
const FIVE_MINUTES = { file: 'README.md', heading: 'Five minutes: a guarded tool of your own' }
const NODES = { file: 'docs/many-nodes.md', heading: 'Many nodes' }
const PUT_BACK = { file: 'docs/many-nodes.md', heading: 'Backups and restore' }
const FLEET = { file: 'docs/fleet.md', heading: 'The fleet' }
const RELEASE = { file: 'docs/releasing.md', heading: 'Before a release' }
const PYTHON = { file: 'docs/direct-http.md', test: 'test/docs/direct-http.test.ts' }
const KUBERNETES = { file: 'docs/deploying.md', heading: 'Kubernetes' }
const RUNBOOK = { file: 'docs/runbook.md', test: 'test/docs/runbook.test.ts' }
const runbook = (heading: string, commands: number): Elsewhere => ({
  ...RUNBOOK,
  heading,
  commands,
  named: `commandsOf('${heading}')`,
})

export const ELSEWHERE: readonly Elsewhere[] = [
  { ...TOUR, commands: ['npm run demo'], test: 'test/e2e/demo.test.ts', named: 'runDemo(' },
  {
    ...FIVE_MINUTES,
    commands: [
      'export MACHINEID_BASE_URL=…',
      'npx node --conditions=holdpoint-source examples/guard-one-tool.ts',
      'holdpoint devices revoke openai-agent:dev:payments:01 --reason "trying it out"',
      'holdpoint devices restore openai-agent:dev:payments:01',
    ],
    test: 'test/docs/played.test.ts',
    named: "the README's five minutes",
  },
  {
    ...FIVE_MINUTES,
    commands: ['npm pack', 'npm install ../holdpoint/holdpoint-0.1.0.tgz @openai/agents zod'],
    test: 'test/package/packed.test.ts',
    named: 'installs that into an empty project',
  },
  {
    ...FIVE_MINUTES,
    commands: ['node app.ts'],
    test: 'test/docs/readme.test.ts',
    named: "the README's first program",
  },
  {
    file: 'README.md',
    heading: 'A run that waits for a person',
    commands: 3,
    test: 'test/e2e/hosted-readme.test.ts',
    named: "the README's three commands",
  },
  ...[{ file: 'README.md', heading: 'Many nodes' }, NODES].map((where) => ({
    ...where,
    commands: ['npm run demo -- --cluster'],
    test: 'test/e2e/demo-cluster.test.ts',
    named: "runDemo('--cluster')",
  })),
  {
    ...PUT_BACK,
    commands: ['holdpoint restore-backup'],
    test: 'test/store/postgres/commands.test.ts',
    named: 'restore-backup stops everything',
  },
  {
    file: 'docs/adopting.md',
    heading: 'A test plan',
    commands: 10,
    test: 'test/docs/played.test.ts',
    named: "commandsOf('adopting.md')",
  },
  {
    file: 'docs/device-model.md',
    heading: '1,000 devices, and more',
    commands: 1,
    test: 'test/docs/played.test.ts',
    named: "commandsOf('device-model.md')",
  },
  {
    file: 'docs/hosted-mcp.md',
    heading: 'The server',
    commands: 3,
    test: 'test/docs/played.test.ts',
    named: "commandsOf('hosted-mcp.md')",
  },
  { ...PYTHON, heading: 'A key and a slot', commands: 3, named: 'play(setUp)' },
  { ...PYTHON, heading: 'The wire', commands: 3, named: 'play(wire)' },
  { ...PYTHON, heading: 'A client in Python', commands: 5, named: 'stopAndRestore.trim()' },
  runbook('Stop', 2),
  runbook('See', 4),
  runbook('Restore', 3),
  runbook('A key leaked', 3),
  runbook('Rotate a key', 1),
  runbook('The admin key is lost', 2),
  runbook('Back up', 3),
  runbook('Restore a backup', 2),
  runbook('Postgres fails over', 2),
  runbook('Outcomes that nobody knows', 2),
  {
    ...KUBERNETES,
    commands: ['deploy/tls/make-certs.sh certs …'],
    test: 'test/docs/every-command.test.ts',
    named: "linesOf('docs/deploying.md', 'Kubernetes')",
  },
  {
    ...FLEET,
    commands: [
      'npm run fleet -- --only=3-worker',
      'npm run fleet -- --only=25-agent --only=25-worker --json',
      'npm run fleet -- --only=3-worker --forget',
    ],
    test: 'test/e2e/fleet.test.ts',
    named: "'25-agent', '25-worker'",
  },
  {
    ...RELEASE,
    commands: ['npm run check:lockfile', 'npm run sbom'],
    test: 'test/package/supply-chain.test.ts',
    named: 'npm run sbom names exactly',
  },
  {
    ...RELEASE,
    commands: ['npm run check:package'],
    test: 'test/package/packed.test.ts',
    named: 'packed.attw.status',
  },
]

const CONTAINER = { file: 'docs/deploying.md', heading: 'Container' }
const UNTIL_CTRL_C = 'runs until Ctrl-C; test/e2e/demo-cluster.test.ts starts the same and ends it'

export const NOT_RUN: readonly NotRun[] = [
  {
    ...TOUR,
    commands: ['npm ci && npm start'],
    why: 'installs everything anew; what npm start runs is in test/e2e/start.test.ts',
  },
  {
    ...FIVE_MINUTES,
    commands: ['npm pkg set type=module'],
    why: "npm's own; the projects of test/docs/user-project.ts have what it sets",
  },
  { file: 'README.md', heading: 'Many nodes', commands: ['npm run cluster'], why: UNTIL_CTRL_C },
  {
    ...CONTAINER,
    commands: [
      'docker build --file Containerfile …',
      'docker run --rm holdpoint:0.1.0',
      'docker run --detach --name control-plane …',
    ],
    why: 'needs a docker daemon; test/deploy/container.test.ts does what the Containerfile says without one',
  },
  {
    file: 'docs/deploying.md',
    heading: 'systemd',
    commands: ['sudo …', 'cd /opt/holdpoint && sudo npm ci'],
    why: 'changes the machine as root; test/deploy/systemd.test.ts checks the units',
  },
  {
    ...KUBERNETES,
    commands: ['kubectl …'],
    why: 'needs a cluster; test/deploy/kubernetes.test.ts checks the manifests, and these commands against them',
  },
  { ...NODES, commands: ['npm run cluster'], why: UNTIL_CTRL_C },
  {
    ...NODES,
    commands: ['docker compose up --detach'],
    why: 'needs a docker daemon; test/docs/compose.test.ts checks the file',
  },
  {
    ...PUT_BACK,
    commands: ['pg_restore --clean …'],
    why: "Postgres' own, with a dump of another day",
  },
  {
    ...FLEET,
    commands: ['npm run fleet'],
    why: 'takes minutes; test/e2e/fleet.test.ts runs four of the six',
  },
  { ...RELEASE, commands: ['npm run check:signatures'], why: 'asks the registry about every package' },
]
