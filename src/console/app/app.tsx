import { MantineProvider } from '@mantine/core'
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { Router } from 'wouter'

import { ApiError } from '../api/api-error.ts'
import { styleNonce, theme } from './theme.ts'
import { SignedIn } from './signed-in.tsx'

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // What is refused stays refused; what got no answer is asked again by the next poll, and says so meanwhile.
      retry: (failures, error) => failures < 1 && error instanceof ApiError && error.status === 0,
      staleTime: 1000,
      networkMode: 'always',
    },
    mutations: { networkMode: 'always' },
  },
})

export function App() {
  return (
    <MantineProvider theme={theme} defaultColorScheme="auto" getStyleNonce={styleNonce}>
      <QueryClientProvider client={client}>
        <Router base="/console">
          <SignedIn />
        </Router>
      </QueryClientProvider>
    </MantineProvider>
  )
}
