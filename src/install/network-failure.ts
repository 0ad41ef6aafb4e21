import type { ErrorType } from '../errors.ts'

const TYPES: Readonly<Record<string, ErrorType>> = {
  ENOTFOUND: 'dns_failure',
  EAI_AGAIN: 'dns_failure',
  ETIMEDOUT: 'network_timeout',
  ESOCKETTIMEDOUT: 'network_timeout',
  ESTALL: 'network_timeout',
  ERR_PROXY_TUNNEL: 'network_unreachable',
}

/** The kind of failure that an errno or TLS code of a connection stands for. */
export function networkFailureType(code: string | undefined): ErrorType {
  if (code === undefined) return 'network_unreachable'
  if (/^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|EPROTO)/.test(code)) return 'tls_failure'
  return TYPES[code] ?? 'network_unreachable'
}

/** `code` of anything thrown, e.g. ECONNREFUSED. */
export function codeOf(thrown: unknown): string | undefined {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return undefined
  return typeof thrown.code === 'string' ? thrown.code : undefined
}
