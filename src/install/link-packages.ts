import { MachineError } from '../errors.ts'
import type { PythonEnvironments } from '../host/install-ports.ts'
import { type InstallContext, note } from './context.ts'
import { splitByHash } from './requirement-lock.ts'

const NEEDS_BUILD = /building source distributions is disabled|no usable wheels|building from source is disabled/i

/**
 * Environments whose wheels are linked by `linking`, which builds nothing, and where something has to be built installed by
 * `building`. Files that are linked are made read-only: a script that wrote into one would write into other generations too.
 */
export function linkPackages(
  context: InstallContext,
  building: PythonEnvironments,
  linking: PythonEnvironments,
): PythonEnvironments {
  const { exec, files, signal } = context.host
  return {
    ...building,
    create: (environment) => linking.create(environment),
    async install(environment, requirementsFile) {
      // What has no hash comes from a repository.
      if (splitByHash((await files.readText(requirementsFile)) ?? '').unhashed !== '')
        return building.install(environment, requirementsFile)
      try {
        await linking.install(environment, requirementsFile)
      } catch (error) {
        if (!(error instanceof MachineError) || !NEEDS_BUILD.test(error.message)) throw error
        note(context, `some packages have to be built, and are not linked: ${error.message}`, 'info')
        return building.install(environment, requirementsFile)
      }
      const find = ['find', environment, '-type', 'f', '-links', '+1', '-exec', 'chmod', 'a-w', '{}', '+'] as const
      const { code, stderr } = await exec.run([...find], { env: { PATH: '/usr/bin:/bin' }, signal })
      signal.throwIfAborted()
      if (code !== 0) throw new MachineError('CM1403', `${environment}: ${stderr.trim()}`)
    },
  }
}
