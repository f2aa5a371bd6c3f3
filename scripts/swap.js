// node scripts/swap.js BUILT TARGET: puts what was built in the place of what is served, which is whole at every moment
// but one between two renames.

import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'

const [, , built, target] = process.argv
const old = `${built}-old`
mkdirSync(dirname(target), { recursive: true })
rmSync(old, { recursive: true, force: true })
if (existsSync(target)) renameSync(target, old)
renameSync(built, target)
rmSync(old, { recursive: true, force: true })
