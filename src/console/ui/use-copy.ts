import { useCallback, useState } from 'react'

/** Copies a text, and says what came of it: where there is no TLS, or no permission, a browser refuses. */
export function useCopy(text: string) {
  const [copied, setCopied] = useState<'copied' | 'refused'>()
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
      setCopied('copied')
    } catch {
      setCopied('refused')
    }
  }
  const forget = useCallback(() => setCopied(undefined), [])
  return { copied, copy: () => void copy(), forget }
}
