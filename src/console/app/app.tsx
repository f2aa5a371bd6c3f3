import { MantineProvider } from '@mantine/core'
import { Router } from 'wouter'

import { styleNonce, theme, variables } from './theme.ts'
import { SignedIn } from './signed-in.tsx'

export function App() {
  return (
    <MantineProvider
      theme={theme}
      cssVariablesResolver={variables}
      defaultColorScheme="auto"
      getStyleNonce={styleNonce}
    >
      <Router base="/console">
        <SignedIn />
      </Router>
    </MantineProvider>
  )
}
