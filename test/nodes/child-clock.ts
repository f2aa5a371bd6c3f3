// Preloaded with --import: the wall clock of this process, and of its threads, is off by as many milliseconds as the
// file CLOCK_SHIFT_FILE says, which is read all the time. The monotonic clock goes on as it is, as on a machine whose
// clock is set while it runs.

import { existsSync, readFileSync } from 'node:fs'

const EVERY_MS = 20
const file = process.env['CLOCK_SHIFT_FILE'] ?? ''
const Real = Date
let shiftMs = 0

class Shifted extends Real {
  constructor(...given: readonly unknown[]) {
    if (given.length === 0) super(Shifted.now())
    // What Date takes has many shapes, and all of them go on as they are.
    else super(...(given as [number]))
  }
  static override now(): number {
    return Real.now() + shiftMs
  }
}

function look(): void {
  if (existsSync(file)) shiftMs = Number(readFileSync(file, 'utf8'))
}

look()
setInterval(look, EVERY_MS).unref()
globalThis.Date = Shifted as DateConstructor
