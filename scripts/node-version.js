// Plain JavaScript, so that an old Node can read it and say one clear line.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `holdpoint needs Node 22.19 or newer; this is ${process.versions.node}. npm ci brings Node 24 for npm scripts: ` +
      'run it without --ignore-scripts, then use npm start.\n',
  )
  process.exit(1)
}
