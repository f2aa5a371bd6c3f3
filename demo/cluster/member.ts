import { spawnProgram, type Child, type Program } from '../../src/programs/supervisor.ts'

export interface MemberOptions {
  /** `control-plane-2`, for people. */
  readonly name: string
  readonly program: Program
  readonly url: string
  /** Of a control plane: where operators ask. Else empty. */
  readonly operatorUrl: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly logDir: string
  readonly onLine: (line: string) => void
}

/** One process of several that do the same, which can be ended and started again. */
export interface Member extends Pick<MemberOptions, 'name' | 'url' | 'operatorUrl'> {
  readonly pid: () => number | undefined
  /** Resolves when it can be used. Throws `ProgramEndedError` with what it said. */
  readonly start: () => Promise<void>
  /** Ends it in good order. */
  readonly stop: () => Promise<void>
  /** As a machine that dies. */
  readonly kill: () => Promise<void>
}

export function createMember(options: MemberOptions): Member {
  const { name, program, url, operatorUrl, env, logDir, onLine } = options
  let child: Child | undefined
  const tell = (line: string) => onLine(line.replace(program, name))
  const take = () => {
    const taken = child
    child = undefined
    return taken
  }
  return {
    name,
    url,
    operatorUrl,
    pid: () => child?.process.pid,
    start: async () => {
      const started = await spawnProgram({ program, env, logDir, onLine: tell })
      child = started
      void started.ended.then(() => {
        if (child !== started) return
        child = undefined
        onLine(`${name} has ended; the others go on. Its log: ${logDir}/${program}.log`)
      })
    },
    stop: async () => take()?.stop(),
    kill: async () => {
      const taken = take()
      taken?.process.kill('SIGKILL')
      await taken?.ended
    },
  }
}
