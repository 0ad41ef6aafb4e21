import path from 'node:path'
import { placesOf } from '../plan/places.ts'
import { type MachinePlan, SANDBOX_SOCKET } from '../plan/plan.ts'
import { isTelemetryName, logFields, secretsDirectory, traceEnvironment, type UnitToRender } from './common-values.ts'
import { quoteWord } from './escape.ts'

const HUB = 'HUB_REDIS_URL'
const API_KEY = 'EMPROPS_API_KEY'
const isPackageIndexName = (name: string): boolean => /^(PIP|UV)_|_proxy$/i.test(name)

/** Tells whether a unit is given the secret of this name. */
export type WantsSecret = (name: string) => boolean

/** Secrets that sources of components may need: everything that is not the machine's own. */
export const isComponentSecret: WantsSecret = (name) => name !== HUB && name !== API_KEY && !isTelemetryName(name)

/** Secrets that the discovery needs. */
export const isDiscoverySecret: WantsSecret = (name) => name === API_KEY || /_proxy$/i.test(name)

/** One unit that runs as comfy-install: template `NAME.service`, with the secrets it wants and all that installers may write. */
export function installerUnit(plan: MachinePlan, name: string, wantsSecret: WantsSecret): UnitToRender {
  return {
    name: `${name}.service`,
    template: `${name}.service`,
    values: {
      logFields: logFields(plan),
      traceparent: traceEnvironment(plan),
      credentials: plan.secretNames.filter(wantsSecret),
      secrets: secretsDirectory(plan),
      writable: [...new Set([plan.paths.workspace, plan.paths.models, plan.paths.cache])].map(quoteWord),
    },
  }
}

/** The installers that a start waits for, in the order in which they are listed to people. */
export function installers(plan: MachinePlan): readonly UnitToRender[] {
  return [
    installerUnit(plan, 'comfy-install-comfyui', isPackageIndexName),
    installerUnit(plan, 'comfy-discover', isDiscoverySecret),
    installerUnit(plan, 'comfy-install-nodes', isComponentSecret),
    installerUnit(plan, 'comfy-install-models', isComponentSecret),
  ]
}

/** The socket of the sandbox, and the unit that each of its connections gets. */
export function sandboxUnits(plan: MachinePlan): readonly UnitToRender[] {
  const { next, nodeEnv } = placesOf(plan.paths.workspace)
  const caches = ['uv', 'pip', 'home'].map((name) => path.join(plan.paths.cache, name))
  const hidden = ['/run/credentials', plan.paths.run, '/etc/comfy-machine/secrets.env', nodeEnv]
  const optional = (paths: readonly string[]): readonly string[] => paths.map((each) => quoteWord(`-${each}`))
  return [
    { name: 'comfy-sandbox.socket', template: 'comfy-sandbox.socket', values: { socket: quoteWord(SANDBOX_SOCKET) } },
    {
      name: 'comfy-sandbox@.service',
      template: 'comfy-sandbox@.service',
      // systemd follows `next`: only the generation that is being built can be written.
      values: { logFields: logFields(plan), hidden: optional(hidden), writable: optional([next, ...caches]) },
    },
  ]
}
