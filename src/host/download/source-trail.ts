import { fault } from '../fault.ts'
import type { ModelSource } from '../model-ports.ts'
import type { DeadHosts } from './dead-hosts.ts'
import type { Target } from './exchange.ts'

const MOST_REDIRECTS = 10

/** Where the bytes of a file are asked for now: a source, or where it redirected to. */
export class SourceTrail {
  readonly #sources: readonly ModelSource[]
  readonly #allowInsecure: boolean
  readonly #deadHosts: DeadHosts
  #index = 0
  #target: Target
  #hops = 0
  #wasRenewed = false

  constructor(sources: readonly ModelSource[], allowInsecure: boolean, deadHosts: DeadHosts) {
    this.#sources = sources
    this.#allowInsecure = allowInsecure
    this.#deadHosts = deadHosts
    this.#target = firstTarget(this.source)
  }

  /** The source in turn. Throws RangeError when there is none. */
  get source(): ModelSource {
    const source = this.#sources[this.#index]
    if (source === undefined) throw new RangeError('a file without a source')
    return source
  }

  /** Number of the source in turn, from 0. */
  get index(): number {
    return this.#index
  }

  get target(): Target {
    return this.#target
  }

  /** Goes where an answer leads. The token stays with the host that it is for. Throws with code EREDIRECT. */
  follow(location: string | undefined): void {
    const base = this.#target.url
    const next = location !== undefined && URL.canParse(location, base.href) ? new URL(location, base) : undefined
    const isAllowed = next?.protocol === 'https:' || (this.#allowInsecure && next?.protocol === 'http:')
    if (next === undefined || !isAllowed) {
      throw fault('EREDIRECT', `redirected to ${next?.origin ?? 'no address'}, which is not allowed`)
    }
    this.#hops += 1
    if (this.#hops > MOST_REDIRECTS) throw fault('EREDIRECT', `more than ${MOST_REDIRECTS} redirects`)
    const own = firstTarget(this.source)
    this.#target = next.origin === own.url.origin ? { ...own, url: next } : { url: next, authorization: null }
  }

  /** Asks the source itself once more: an address that it redirected to may have expired. False when it was not elsewhere, or was asked so before. */
  renew(): boolean {
    if (this.#hops === 0 || this.#wasRenewed) return false
    this.#wasRenewed = true
    this.#restart()
    return true
  }

  /** Bytes came from where the source is asked now: when that address expires it may be renewed again. */
  settle(): void {
    this.#wasRenewed = false
  }

  /** Another source has the file, should this one fail. */
  get hasNext(): boolean {
    return this.#index + 1 < this.#sources.length
  }

  /** The source could not be reached. False when there is no other, and this one is to be tried again. */
  blame(): boolean {
    if (this.hasNext) this.#deadHosts.add(new URL(this.source.url).host)
    return this.hasNext
  }

  /** Passes over sources that another file has just tried in vain, but for the last one; false when there was none. */
  passDead(): boolean {
    const before = this.#index
    while (this.hasNext && this.#deadHosts.has(new URL(this.source.url).host)) this.advance()
    return this.#index > before
  }

  /** Goes on to the next source. */
  advance(): void {
    this.#index += 1
    this.#wasRenewed = false
    this.#restart()
  }

  #restart(): void {
    this.#hops = 0
    this.#target = firstTarget(this.source)
  }
}

function firstTarget({ url, token }: ModelSource): Target {
  const target = new URL(url)
  const { username, password } = target
  const basic =
    username === '' ? null : `Basic ${btoa(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`)}`
  target.username = ''
  target.password = ''
  target.hash = ''
  const authorization = token === null ? basic : `Bearer ${token}`
  // It would end the header, and begin another one.
  if (authorization !== null && /[^\t\x20-\x7e]/.test(authorization)) {
    throw fault('EINVAL', 'the token has characters that no token has')
  }
  return { url: target, authorization }
}
