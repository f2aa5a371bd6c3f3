import { defineConfig } from 'vitest/config'

export default defineConfig({
  // Tests import `holdpoint` by name, as users do, and must get the same module instance as `src`.
  resolve: { conditions: ['holdpoint-source'] },
  ssr: { resolve: { conditions: ['holdpoint-source'], externalConditions: ['holdpoint-source'] } },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // What is waited for comes at once or never: a busy machine must not decide which.
    expect: { poll: { timeout: 20_000 } },
    env: { OPENAI_AGENTS_DISABLE_TRACING: '1' },
    typecheck: { enabled: false },
  },
})
