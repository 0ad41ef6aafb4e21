import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Secrets } from './ports.ts'

/** Secrets of this unit from `$CREDENTIALS_DIRECTORY`, one file per variable name (systemd.exec(5), LoadCredential=). */
export function openSecrets(env: NodeJS.ProcessEnv = process.env): Secrets {
  const directory = env['CREDENTIALS_DIRECTORY']
  return {
    read(name) {
      if (directory === undefined || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return undefined
      try {
        return readFileSync(join(directory, name), 'utf8').replace(/\n$/, '')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw error
      }
    },
  }
}
