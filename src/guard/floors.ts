/**
 * The epochs below which allows no longer count, as pushed stops have raised them. They only rise: a stop that comes
 * late, twice or out of order changes nothing, and one that is older than an allow does not touch it (G6 the other way).
 */
export class Floors {
  readonly #byDevice = new Map<string, number>()
  #all = Number.NEGATIVE_INFINITY

  /** `deviceIds` undefined: every device. */
  raise(deviceIds: readonly string[] | undefined, epoch: number): void {
    if (deviceIds === undefined) this.#all = Math.max(this.#all, epoch)
    else for (const one of deviceIds) this.#byDevice.set(one, Math.max(this.#floorOf(one), epoch))
  }

  /** The first of these devices for which an allow of this epoch no longer counts. */
  firstAbove(deviceIds: readonly string[], epoch: number | undefined): string | undefined {
    // An allow that does not say when it was given may be older than any stop.
    const at = epoch ?? Number.NEGATIVE_INFINITY
    // Written so that an epoch that is not a number denies, here and in a floor.
    return deviceIds.find((one) => !(at >= Math.max(this.#all, this.#floorOf(one))))
  }

  #floorOf(deviceId: string): number {
    return this.#byDevice.get(deviceId) ?? Number.NEGATIVE_INFINITY
  }
}
