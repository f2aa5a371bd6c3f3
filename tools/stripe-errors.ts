import Stripe from 'stripe'

export interface Verdict {
  /**
   * What the error proves to have paid nothing: all that was ever sent under the key, or this one request.
   * Absent: nothing.
   */
  readonly about?: 'key' | 'request'
  /** Stripe itself answered. */
  readonly answered: boolean
  /** For the model: neither keys nor what Stripe says to developers. */
  readonly message?: string
}

/** Reasons that a payer may be told. Others, such as a stolen card, must look like any other decline. */
const TELLABLE = new Map([
  ['insufficient_funds', 'its funds are insufficient'],
  ['expired_card', 'it has expired'],
  ['card_velocity_exceeded', 'its limit is reached'],
])
const ASK_A_PERSON = 'Nothing was charged. Somebody must check how this server is set up with Stripe.'

/** What an error of Stripe's client proves. Whatever it is not sure of proves nothing. */
export function judgeStripeError(error: unknown): Verdict {
  const { errors } = Stripe
  if (!(error instanceof errors.StripeError)) return { answered: false }
  const answered = error.statusCode !== undefined
  // The payment was tried, and Stripe gives this very answer whenever the key comes again.
  if (error instanceof errors.StripeCardError) return { about: 'key', answered, message: declined(error) }
  const message = refused(error)
  return message === undefined ? { answered } : { about: 'request', answered, message }
}

function declined({ decline_code: code }: Stripe.errors.StripeCardError): string {
  const why = TELLABLE.get(code ?? '')
  return `The card was declined${why === undefined ? '' : `: ${why}`}. Nothing was charged.`
}

function refused(error: Stripe.errors.StripeError): string | undefined {
  const { errors } = Stripe
  // Another request holds the lock: it may be an earlier one of ours.
  if (error.code === 'lock_timeout') return undefined
  if (error instanceof errors.StripeInvalidRequestError)
    return `Stripe refused the payment as invalid. ${ASK_A_PERSON}`
  if (error instanceof errors.StripeAuthenticationError || error instanceof errors.StripePermissionError)
    return `Stripe does not let this server pay. ${ASK_A_PERSON}`
  if (error instanceof errors.StripeRateLimitError)
    return 'Stripe takes no more payments right now. Nothing was charged. Try again later.'
  return undefined
}
