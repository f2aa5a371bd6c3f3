import { useState, type FormEvent } from 'react'

import { plain } from './plain.ts'

/** A form that sends one thing: once at a time, however often it is submitted, and with why it did not work. */
export function useSend(send: () => Promise<void>) {
  const [busy, setBusy] = useState(false)
  const [problem, setProblem] = useState<string>()
  const submit = async () => {
    if (busy) return
    setBusy(true)
    setProblem(undefined)
    try {
      await send()
    } catch (error) {
      setProblem(plain(error instanceof Error ? error.message : String(error)))
    } finally {
      setBusy(false)
    }
  }
  const onSubmit = (event: FormEvent) => {
    event.preventDefault()
    void submit()
  }
  return { busy, problem, onSubmit }
}
