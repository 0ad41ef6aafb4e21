declare const COMFY_MACHINE_VERSION: string | undefined

/** Version of comfy-machine, written in by the build. */
export const VERSION: string = typeof COMFY_MACHINE_VERSION === 'string' ? COMFY_MACHINE_VERSION : '0.0.0'
