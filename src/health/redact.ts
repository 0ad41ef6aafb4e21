import { parseEnv } from '../config/parse-env.ts'

/** What stands in the place of a secret. */
const REDACTED = '[redacted]'

const SECRET_NAME =
  /(^|_)(API_?KEY|KEY|TOKEN|SECRETS?|PASSWORD|PASSWD|PASS|PWD|CREDENTIALS?|AUTH|AUTHORIZATION|COOKIE)(_|$)/i
/** Shorter values would be found in harmless words. */
const SHORTEST_VALUE = 6

/** `"NAME": "value"` of JSON. */
const MEMBER = /"([^"\\\n]{1,200})"(\s*:\s*)"(?:[^"\\\n]|\\.)*"/g
/** `"NAME=value of several words"`, as in Environment= of a unit. */
const QUOTED_ASSIGNMENT = /(["'])([A-Za-z_][A-Za-z0-9_]*)=(?:(?!\1)[^\n])*\1/g
const ASSIGNMENT = /(?<![A-Za-z0-9_])([A-Za-z_][A-Za-z0-9_]*)(=|: )("[^"\n]*"|'[^'\n]*'|[^\s"']+)/g

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@"'<>]+@/gi, `$1${REDACTED}@`],
  [/\b((?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:bearer|basic|token|digest)?\s*)[^\s"',;]+/gi, `$1${REDACTED}`],
  [/\b((?:set-)?cookie:\s*)[^\r\n]+/gi, `$1${REDACTED}`],
  [/\b(bearer\s+)[A-Za-z0-9._~+/-]{8,}=*/gi, `$1${REDACTED}`],
  [
    /([?&](?:[^=&\s"']*(?:token|key|secret|password|signature|credential|sig|auth)[^=&\s"']*)=)[^&\s"'<>]+/gi,
    `$1${REDACTED}`,
  ],
  [
    /(["'](?:[^"'\s]*(?:token|api[_-]?key|secret|password|passwd|credential)s?[^"'\s]*)["']\s*:\s*)"[^"]*"/gi,
    `$1"${REDACTED}"`,
  ],
  [/\b(?:hf|ghp|gho|ghs|ghu|sk|xox[a-z])[_-][A-Za-z0-9_-]{16,}/g, REDACTED],
  [/\bgithub_pat_[A-Za-z0-9_]{16,}/g, REDACTED],
  [/\bAKIA[0-9A-Z]{16}\b/g, REDACTED],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----/g, REDACTED],
]

/** Tells whether a variable of this name holds a secret: `HF_TOKEN`, `EMPROPS_API_KEY`, `MY_SECRET_NAME`. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name) || /SECRET|PASSWORD/i.test(name)
}

/**
 * A text without what looks like a secret: user and password of URLs, values of secret-looking names, Authorization headers,
 * tokens of well-known forms, and every one of the `known` values wherever it stands.
 */
export function redact(text: string, known: readonly string[] = []): string {
  const values = known.flatMap(formsOf).sort((a, b) => b.length - a.length)
  const withoutKnown = values.reduce((left, value) => left.replaceAll(value, REDACTED), text)
  const withoutPatterns = PATTERNS.reduce((left, [pattern, by]) => left.replace(pattern, by), withoutKnown)
  return withoutPatterns
    .replace(MEMBER, (whole, name: string, colon: string) =>
      isSecretName(name) ? `"${name}"${colon}"${REDACTED}"` : whole,
    )
    .replace(QUOTED_ASSIGNMENT, (whole, quote: string, name: string) =>
      isSecretName(name) ? `${quote}${name}=${REDACTED}${quote}` : whole,
    )
    .replace(ASSIGNMENT, (whole, name: string, sign: string) =>
      isSecretName(name) ? `${name}${sign}${REDACTED}` : whole,
    )
}

/** What an environment file sets, one `NAME=value` per line, the value of every secret-looking name replaced whatever it holds. */
export function redactEnvironment(text: string, known: readonly string[] = []): string {
  const { assignments, problems } = parseEnv(text, 'machine.env')
  const lines = assignments.map(({ name, value }) => `${name}=${isSecretName(name) ? REDACTED : value}`)
  const notes = problems.map((problem) => `# line ${problem.line ?? '?'} cannot be read`)
  return redact(`${[...lines, ...notes].join('\n')}\n`, known)
}

/** The spellings in which a secret may stand in a text: itself, as part of a URL, the password within it. */
function formsOf(secret: string): readonly string[] {
  const value = secret.trim()
  const password = /^[a-z][a-z0-9+.-]*:\/\/[^\s/@]*:([^\s/@]+)@/i.exec(value)?.[1]
  const forms = [value, encodeURIComponent(value), JSON.stringify(value).slice(1, -1), password ?? '']
  return [...new Set(forms)].filter((form) => form.length >= SHORTEST_VALUE)
}
