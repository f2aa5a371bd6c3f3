import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'

import { ApiError } from '../api/api-error.ts'

/** Holds what was asked for. What one session was shown goes with it: whoever comes next starts with nothing. */
export function Queries({ children }: { readonly children: ReactNode }) {
  const [client] = useState(createClient)
  return <QueryClientProvider client={client}>{children}</QueryClientProvider>
}

function createClient(): QueryClient {
  return new QueryClient({
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
}
