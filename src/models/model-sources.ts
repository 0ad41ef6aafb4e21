import type { ModelSource } from '../host/model-ports.ts'
import type { Secrets } from '../host/ports.ts'
import type { WantedModel } from '../install/components.ts'
import { blobPath } from '../plan/places.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { isComponentSecret } from '../render/installer-units.ts'

/** Tokens of hosts that most models come from, used where a model names none. */
const TOKENS: ReadonlyMap<string, string> = new Map([
  ['huggingface.co', 'HF_TOKEN'],
  ['hf.co', 'HF_TOKEN'],
  ['civitai.com', 'CIVITAI_TOKEN'],
])

/**
 * Where the bytes of a model may come from, in the order in which they are tried: mirrors and peers by its hash where that is
 * known, without a token, then its own URL. Empty when there is no such place.
 */
export function sourcesOf(
  model: Pick<WantedModel, 'url' | 'sha256' | 'authEnvVar'>,
  plan: Pick<MachinePlan, 'models'>,
  secrets: Secrets,
): readonly ModelSource[] {
  const { sha256 } = model
  const bases = sha256 === null ? [] : plan.models.sources.map((base) => `${base}/${blobPath(sha256)}`)
  const mirrors = bases.map((url) => ({ url, token: null, tokenVariable: null }))
  return model.url === null ? mirrors : [...mirrors, originOf(model.url, model.authEnvVar, secrets)]
}

function originOf(url: string, authEnvVar: string | null, secrets: Secrets): ModelSource {
  const tokenVariable = authEnvVar ?? TOKENS.get(new URL(url).host) ?? null
  // What a component names may be any name, also that of a secret of the machine itself.
  const isOffered = tokenVariable !== null && isComponentSecret(tokenVariable)
  const token = isOffered ? (secrets.read(tokenVariable) ?? '') : ''
  return { url, token: token === '' ? null : token, tokenVariable }
}

/** Host of a URL, which is all that is shown of it: user, path and query may be secret. Null where there is none. */
export function hostOf(url: string | null): string | null {
  return url !== null && URL.canParse(url) ? new URL(url).host : null
}
