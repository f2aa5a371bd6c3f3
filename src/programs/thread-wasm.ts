import { setFlagsFromString } from 'node:v8'

/**
 * Call it before a thread is started that runs TypeScript: Node strips types with WebAssembly. What that calls a
 * thousand times gets code of its own, which V8 keeps for all threads of the process until none uses it. V8 13.6, that
 * of Node 24, hands such code to one thread while another is freeing it, and then the process dies: SIGSEGV or SIGTRAP.
 * Later ones look whether it is being freed. So no such code is made: nothing is called that often any more.
 *
 * It holds for WebAssembly that is loaded from then on, in the whole process, whose calls to JavaScript stay on the slower
 * path on which all of them begin. A V8 that does not know the flag says so on standard error and goes on.
 */
export function keepWasmCodeUnshared(): void {
  // Below 2 ** 30: V8 keeps what is left of it in a small integer.
  setFlagsFromString('--wasm-wrapper-tiering-budget=1000000000')
}
