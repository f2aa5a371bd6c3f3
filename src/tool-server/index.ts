// The public entry `holdpoint/tool-server`: host guarded tools of your own over HTTP and MCP.
export {
  callersOf,
  createCallerToken,
  readCallers,
  type Caller,
  type CallerRecord,
  type Callers,
  type Scope,
} from './callers.ts'
export { createToolServer, type ToolServer, type ToolServerOptions } from './tool-server.ts'
