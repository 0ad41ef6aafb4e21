import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Components } from '../../src/install/components.ts'
import { must } from '../host/command.ts'
import { projectRoot } from '../host/paths.ts'
import { planOf } from '../unit/observe/build-machine.ts'
import type { ModelFile } from './model-files.ts'
import { type Taken, takeTime } from './timed-process.ts'

/** The runtime that the package brings, with the option that the program is started with. */
const NODE = [path.join(projectRoot, 'node_modules/.bin/node'), '--max-semi-space-size=1']

/** What is to be brought: files from below a URL into a fresh folder. */
export interface Errand {
  readonly files: readonly ModelFile[]
  readonly url: string
  readonly folder: string
  /** For what belongs to a run and is no part of it: lists, logs. */
  readonly scratch: string
  readonly authority: string
  /** The bundled program. */
  readonly program: string
  /** Lines of machine.env of ours beside its places. */
  readonly variables?: Readonly<Record<string, string>>
}

/** One way to bring the files; the times of its programs, one after the other. Files lie in `filesOf(errand)` afterwards. */
export interface Way {
  readonly name: string
  readonly run: (errand: Errand) => Promise<readonly Taken[]>
  readonly filesOf: (errand: Errand) => string
}

const target = ({ folder }: Errand): string => folder

/** aria2c with 16 connections to one file. */
export const ARIA: Way = {
  name: 'aria2c -x16 -s16',
  run: (errand) => runAria(errand, ['-x16', '-s16']),
  filesOf: target,
}

/** The same, its sha256 compared. */
export const ARIA_CHECKED: Way = {
  name: 'aria2c -x16 -s16 --checksum',
  run: (errand) => runAria(errand, ['-x16', '-s16', `--checksum=sha-256=${errand.files[0]?.sha256}`]),
  filesOf: target,
}

/** aria2c with 16 files at once, nothing compared. */
export const ARIA_MANY: Way = {
  name: 'aria2c -j16 -i LIST',
  run: (errand) => runAria(errand, ['-j16']),
  filesOf: target,
}

/** curl, and openssl over what it has written. */
export const CURL: Way = {
  name: 'curl, then openssl sha256',
  run: (errand) => runCurl(errand, []),
  filesOf: target,
}

/** curl with 16 files at once, and openssl over all that it has written. */
export const CURL_MANY: Way = {
  name: 'curl -Z --parallel-max 16, then openssl sha256',
  run: (errand) => runCurl(errand, ['-Z', '--parallel-max', '16']),
  filesOf: target,
}

/** `comfy-machine install models`, as its unit runs it. */
export const OURS: Way = {
  name: 'comfy-machine install models',
  run: (errand) => runOurs(errand),
  filesOf: ({ folder }) => path.join(folder, 'models'),
}

async function runAria(errand: Errand, args: readonly string[]): Promise<readonly Taken[]> {
  const { files, url, folder, scratch, authority } = errand
  const list = path.join(scratch, 'urls')
  await writeFile(list, files.map(({ name }) => `${url}/${name}\n`).join(''))
  const quiet = ['--no-conf', '--quiet', `--ca-certificate=${authority}`]
  return [await takeTime({ argv: ['aria2c', ...quiet, ...args, '-d', folder, '-i', list], cwd: folder }, scratch)]
}

async function runCurl(errand: Errand, args: readonly string[]): Promise<readonly Taken[]> {
  const { files, url, folder, scratch, authority } = errand
  const [list, sums] = [path.join(scratch, 'curl.conf'), path.join(scratch, 'sums')]
  await writeFile(list, files.map(({ name }) => `url = "${url}/${name}"\noutput = "${name}"\n`).join(''))
  await writeFile(sums, files.map(({ name, sha256 }) => `${sha256} *${name}\n`).join(''))
  const curl = ['curl', '--disable', '--silent', '--show-error', '--fail', '--cacert', authority, ...args, '-K', list]
  const compare = `openssl dgst -sha256 -r *.safetensors | cmp - '${sums}'`
  return [
    await takeTime({ argv: curl, cwd: folder }, scratch),
    await takeTime({ argv: ['sh', '-c', compare], cwd: folder }, scratch),
  ]
}

async function runOurs(errand: Errand): Promise<readonly Taken[]> {
  const { files, url, folder, scratch, authority, program } = errand
  const places = { WORKSPACE_PATH: path.join(folder, 'workspace'), MODELS_PATH: path.join(folder, 'models') }
  const variables = { ...places, ALLOW_INSECURE_SOURCES: '1', ...errand.variables }
  const text = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`)
  const plan = planOf(1, text.join(''))
  const planFile = path.join(scratch, 'plan.json')
  const models = files.map(({ name, bytes, sha256 }) => ({
    ...{ name, url: `${url}/${name}`, path: name, bytes, estimatedBytes: bytes, sha256 },
    ...{ authEnvVar: null, sources: ['defaults'] },
  }))
  const question = { apiUrl: null, workflows: [], collections: [], allowInsecureSources: true }
  const components: Components = { schema: 1, question, answer: '', nodes: [], models }
  await writeFile(planFile, JSON.stringify(plan))
  await must(['mkdir', places.WORKSPACE_PATH, places.MODELS_PATH])
  await writeFile(path.join(places.WORKSPACE_PATH, 'components.json'), JSON.stringify(components))
  const env = { COMFY_MACHINE_PLAN: planFile, RUNTIME_DIRECTORY: scratch, NODE_EXTRA_CA_CERTS: authority }
  const argv = [...NODE, path.join(program, 'main.js'), 'install', 'models']
  return [await takeTime({ argv, cwd: folder, env }, scratch)]
}
