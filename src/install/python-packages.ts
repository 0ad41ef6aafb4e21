import { normaliseName } from './requirement-lines.ts'

type Variables = Readonly<Record<string, string>>

/** Variables that reach every program of the installers: proxies and certificates. */
const NETWORK =
  /^(https?_proxy|no_proxy|all_proxy|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO)$/i
const PACKAGES = /^(PIP|UV)_[A-Z0-9_]+$/
/** What pip and uv call the same thing; a list in either is separated by spaces. */
const PAIRS: readonly (readonly [pip: string, uv: readonly [string, ...string[]]])[] = [
  ['PIP_INDEX_URL', ['UV_DEFAULT_INDEX', 'UV_INDEX_URL']],
  ['PIP_EXTRA_INDEX_URL', ['UV_INDEX', 'UV_EXTRA_INDEX_URL']],
  ['PIP_TRUSTED_HOST', ['UV_INSECURE_HOST']],
  ['PIP_FIND_LINKS', ['UV_FIND_LINKS']],
  ['PIP_NO_INDEX', ['UV_NO_INDEX']],
]

/** Proxies and certificates out of the operator's variables. */
export function networkVariables(variables: Variables): Record<string, string> {
  return pick(variables, NETWORK)
}

/** The variables for pip and uv: each of the two sees what is set for the other, and an http index is trusted where allowed. */
export function packageVariables(variables: Variables, allowInsecure: boolean): Record<string, string> {
  const result = { ...pick(variables, NETWORK), ...pick(variables, PACKAGES) }
  for (const [pip, uv] of PAIRS) {
    const uvValue = uv.map((name) => result[name]).find((value) => value !== undefined)
    const pipValue = result[pip]
    if (uvValue === undefined && pipValue !== undefined) result[uv[0]] = pipValue
    if (pipValue === undefined && uvValue !== undefined)
      result[pip] = uvValue.replace(/(^|\s)[A-Za-z0-9_-]+=(?=https?:)/g, '$1')
  }
  const trusted = trustedHosts(`${result['PIP_INDEX_URL'] ?? ''} ${result['PIP_EXTRA_INDEX_URL'] ?? ''}`, allowInsecure)
  if (trusted.length > 0) {
    result['PIP_TRUSTED_HOST'] ??= trusted.join(' ')
    result['UV_INSECURE_HOST'] ??= trusted.join(' ')
  }
  return result
}

/** Hosts of plain http indexes that are trusted: loopback always, others only when the operator allows insecure sources. */
export function trustedHosts(urls: string, allowInsecure: boolean): readonly string[] {
  const hosts = urls.split(/\s+/).flatMap((text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (url?.protocol !== 'http:') return []
    const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)
    return loopback || allowInsecure ? [url.host] : []
  })
  return [...new Set(hosts)]
}

/** What pip or uv said of the reason, at most 600 characters. */
export function packageFailure(output: string): string {
  const lines = output.split('\n').map((line) => line.trimEnd())
  const ofUv = lines.findIndex((line) => /^error: /.test(line))
  const ofPip = lines.filter((line) => /^\s*ERROR/.test(line)).slice(-6)
  const last = lines.filter((line) => line !== '').slice(-4)
  const chosen = ofUv >= 0 ? lines.slice(ofUv, ofUv + 6).filter((line) => line !== '') : ofPip.length > 0 ? ofPip : last
  return chosen
    .map((line) => line.trim())
    .join(' | ')
    .replace(/:\/\/[^@/\s]*@/g, '://')
    .slice(0, 600)
}

/** Normalised name and version of a distribution by the name of its metadata directory; undefined when it is none. */
export function distributionOf(directory: string): readonly [readonly [name: string, version: string]] | undefined {
  const [, name, version] =
    /^(.+)-([^-]+)\.dist-info$/.exec(directory) ?? /^(.+?)-([^-]+)(?:-py[\d.]+)?\.egg-info$/.exec(directory) ?? []
  return name === undefined || version === undefined ? undefined : [[normaliseName(name), version]]
}

function pick(variables: Variables, pattern: RegExp): Record<string, string> {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => pattern.test(name)))
}
