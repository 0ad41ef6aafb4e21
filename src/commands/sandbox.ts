import { serveSandbox } from '../host/sandbox-server.ts'

/** `comfy-machine sandbox`, what each connection to comfy-sandbox.socket is served by; does not return. */
export async function sandboxCommand(): Promise<number> {
  await serveSandbox()
  return 0
}
