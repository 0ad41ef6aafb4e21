import type { RequirementsFile, Resolution } from '../host/install-ports.ts'
import type { ExecResult } from '../host/ports.ts'
import { chosenByPip, lockOfCompile, lockOfReport } from './requirement-lock.ts'
import { failureKind, resolverWords } from './resolver-output.ts'

/** The end of a resolver and what it was asked for. */
export interface ResolverEnd {
  readonly installer: 'uv' | 'pip'
  readonly torchBackend: string | null
  readonly result: ExecResult
  /** Options of the requirement files that name indexes. */
  readonly indexes: readonly string[]
  readonly wanted: readonly RequirementsFile[]
}

/** What a resolver came to. */
export function readResolution({ installer, torchBackend, result, indexes, wanted }: ResolverEnd): Resolution {
  const failed = (detail: string): Resolution => ({ ok: false, reason: 'failed', detail })
  if (result.timedOut) return failed(`${installer} ran out of time`)
  if (result.code !== 0) {
    const output = `${result.stdout}\n${result.stderr}`
    const said = resolverWords(output)
    const detail = said === '' ? `${installer} ended with ${result.code ?? result.signal}` : said
    const reason = failureKind(output)
    const owner = wanted.find(({ path }) => detail.includes(path))?.owner
    return { ok: false, reason, detail, ...(owner === undefined ? {} : { owner }) }
  }
  if (installer === 'uv') return { ok: true, ...lockOfCompile(result.stdout, indexes) }
  const lock = lockOfReport(result.stdout, indexes)
  if (lock === undefined) return failed('pip wrote no report')
  const other = torchBackend === null ? undefined : otherTorch(result.stdout, torchBackend)
  return other === undefined ? { ok: true, ...lock } : failed(other)
}

/** pip takes the newest torch of all indexes; when that is not of the wanted build, it cannot be used. */
function otherTorch(stdout: string, backend: string): string | undefined {
  const torch = chosenByPip(stdout)?.find(({ name }) => name === 'torch')
  if (torch === undefined || torch.version.endsWith(`+${backend}`) || torch.url.includes(`/${backend}/`))
    return undefined
  return `pip chose torch ${torch.version}, which is not of the build ${backend}; set PYTHON_INSTALLER=uv, or TORCH_BACKEND=none to let the package indexes decide`
}
