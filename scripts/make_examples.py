"""Draws the twelve example pictures that ship with the app, in code alone.

    python scripts/make_examples.py [--out assets/examples] [--only 01 07]

Every picture is computed with numpy and Pillow from fixed seeds: height-field terrain, ray-marched
solids, ray-cast streets, fractals, spline drawings and painted strokes. No photograph, font or
downloaded file goes in, so the same library versions write the same bytes on every run. Beside the
pictures, examples.json holds each one's title, alternative text and prompt. About a minute on one
core.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

SIDE = 512
CANVAS = 1024
QUALITY = 88
TAU = 2 * np.pi

Array = NDArray[np.float32]
Vector = tuple[Array, Array, Array]
Color = tuple[float, float, float]
Solid = Callable[[Array, Array, Array], Array]


# --- numbers, noise and colour ---------------------------------------------------------------


def clip01(a: ArrayLike) -> Array:
    """Clamp to 0..1."""
    return np.clip(a, 0.0, 1.0).astype(np.float32)


def ramp(low: float, high: float, x: ArrayLike) -> Array:
    """Smooth step: 0 at low, 1 at high (low may be the larger one)."""
    t = clip01((np.asarray(x, np.float32) - low) / (high - low))
    return t * t * (3 - 2 * t)


def mix(a: ArrayLike, b: ArrayLike, t: ArrayLike) -> Array:
    """Blend a towards b; a plain field t also blends colours."""
    a, b, t = (np.asarray(v, np.float32) for v in (a, b, t))
    if t.ndim and (max(a.ndim, b.ndim) != t.ndim or a.ndim == b.ndim == t.ndim == 1):
        t = t[..., None]
    return a + (b - a) * t


def color(code: str) -> Array:
    """A colour such as "ffaa00" as three floats."""
    return np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)], np.float32)


def gradient(t: ArrayLike, *stops: tuple[float, str]) -> Array:
    """Colours for the field t from (position, colour code) stops."""
    at = [s[0] for s in stops]
    table = np.array([color(s[1]) for s in stops])
    t = np.asarray(t, np.float32)
    return np.stack([np.interp(t, at, table[:, i]) for i in range(3)], -1).astype(np.float32)


def grid(size: int = CANVAS) -> tuple[Array, Array]:
    """Pixel centres in 0..1: x to the right, y downwards."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(line, line)
    return x, y


def lattice(seed: int, dims: int) -> Array:
    """A repeatable table of random gradients for noise."""
    rng = np.random.default_rng(1000 + seed)
    if dims == 2:
        angle = rng.uniform(0, TAU, 256 * 256)
        return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)
    return rng.uniform(-1, 1, 64**3).astype(np.float32)


TABLES: dict[tuple[int, int], Array] = {}


def table_for(seed: int, dims: int) -> Array:
    """The noise table of a seed, made once."""
    if (seed, dims) not in TABLES:
        TABLES[seed, dims] = lattice(seed, dims)
    return TABLES[seed, dims]


def noise(x: ArrayLike, y: ArrayLike, seed: int = 0) -> Array:
    """Gradient noise in about -1..1."""
    x, y = np.broadcast_arrays(np.asarray(x, np.float32), np.asarray(y, np.float32))
    gx, gy = table_for(seed, 2)
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0
    ix, iy = x0.astype(np.int32) & 255, (y0.astype(np.int32) & 255) << 8
    jx, jy = (ix + 1) & 255, (iy + 256) & 65535
    u = fx * fx * fx * (fx * (fx * 6 - 15) + 10)
    v = fy * fy * fy * (fy * (fy * 6 - 15) + 10)
    a, b, c, d = ix | iy, jx | iy, ix | jy, jx | jy
    na = gx[a] * fx + gy[a] * fy
    nb = gx[b] * (fx - 1) + gy[b] * fy
    nc = gx[c] * fx + gy[c] * (fy - 1)
    nd = gx[d] * (fx - 1) + gy[d] * (fy - 1)
    top, low = na + (nb - na) * u, nc + (nd - nc) * u
    return (top + (low - top) * v) * 1.5


def fbm(x: ArrayLike, y: ArrayLike, octaves: int = 5, seed: int = 0, gain: float = 0.5) -> Array:
    """Fractal noise in about -1..1: octaves of noise, each twice as fine."""
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    total, weight, power = np.float32(0), 1.0, 0.0
    for i in range(octaves):
        total = total + weight * noise(x, y, seed + i)
        power += weight
        weight *= gain
        x, y = 1.6 * x - 1.2 * y + 17.3, 1.2 * x + 1.6 * y + 5.1
    return np.asarray(total / power * 1.3, np.float32)


def ridges(x: ArrayLike, y: ArrayLike, octaves: int = 5, seed: int = 0) -> Array:
    """Ridged fractal noise in 0..1, sharp along the crests."""
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    total, weight, power, previous = np.float32(0), 1.0, 0.0, np.float32(1)
    for i in range(octaves):
        layer = (1 - np.abs(noise(x, y, seed + i))) ** 2
        total = total + weight * layer * previous
        previous = clip01(layer * 1.3)
        power += weight
        weight *= 0.5
        x, y = 1.6 * x - 1.2 * y + 9.7, 1.2 * x + 1.6 * y + 3.3
    return np.asarray(total / power, np.float32)


def noise3(x: Array, y: Array, z: Array, seed: int = 0) -> Array:
    """Value noise in space, -1..1."""
    table = table_for(seed, 3)
    x0, y0, z0 = np.floor(x), np.floor(y), np.floor(z)
    u, v, w = x - x0, y - y0, z - z0
    u, v, w = (t * t * (3 - 2 * t) for t in (u, v, w))
    ix, iy, iz = (t.astype(np.int32) & 63 for t in (x0, y0, z0))
    jx, jy, jz = ((t + 1) & 63 for t in (ix, iy, iz))
    iy, jy, iz, jz = iy << 6, jy << 6, iz << 12, jz << 12

    def plane(k: NDArray[np.int32]) -> Array:
        a = table[ix | iy | k]
        b = table[ix | jy | k]
        a = a + (table[jx | iy | k] - a) * u
        b = b + (table[jx | jy | k] - b) * u
        return a + (b - a) * v

    near, far = plane(iz), plane(jz)
    return near + (far - near) * w


def fbm3(x: Array, y: Array, z: Array, octaves: int = 5, seed: int = 0) -> Array:
    """Fractal noise in space, about -1..1."""
    total, weight, power = np.float32(0), 1.0, 0.0
    for i in range(octaves):
        total = total + weight * noise3(x, y, z, seed + i)
        power += weight
        weight *= 0.5
        x, y, z = 1.6 * x - 1.2 * y + 7.7, 1.2 * x + 1.6 * y + 3.1, 2 * z + 11.3
    return np.asarray(total / power * 1.5, np.float32)


def cell_hash(ix: ArrayLike, iy: ArrayLike, seed: int = 0) -> Array:
    """A repeatable random number in 0..1 for each pair of integers."""
    a = np.asarray(np.floor(ix), np.int64).astype(np.uint32)
    b = np.asarray(np.floor(iy), np.int64).astype(np.uint32)
    h = a * np.uint32(0x8DA6B343) ^ b * np.uint32(0xD8163841) ^ np.uint32(seed * 7919 + 12345)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    h = (h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39)
    h = h ^ (h >> np.uint32(15))
    return (h >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


# --- whole-picture filters -------------------------------------------------------------------


def resized(a: Array, size: tuple[int, int], how: Image.Resampling) -> Array:
    """Resize a float field or colour picture to (width, height)."""
    if a.ndim == 3:
        return np.stack([resized(a[..., i], size, how) for i in range(a.shape[2])], -1)
    return np.asarray(Image.fromarray(np.ascontiguousarray(a, np.float32)).resize(size, how))


def blurred(a: Array, radius: float) -> Array:
    """Gaussian blur; the radius is the standard deviation in pixels."""
    if radius <= 0.2:
        return a
    if radius > 6:
        factor = int(min(radius // 3, 16))
        small = (max(a.shape[1] // factor, 1), max(a.shape[0] // factor, 1))
        coarse = blurred(resized(a, small, Image.Resampling.BOX), radius / factor)
        return resized(coarse, (a.shape[1], a.shape[0]), Image.Resampling.BICUBIC)
    reach = int(np.ceil(radius * 2.6))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (0, 1):
        pad = [(reach, reach) if i == axis else (0, 0) for i in range(a.ndim)]
        wide = np.pad(a, pad, mode="edge")
        out = np.zeros_like(a, dtype=np.float32)
        for i, tap in enumerate(taps):
            part = [slice(None)] * a.ndim
            part[axis] = slice(i, i + a.shape[axis])
            out += tap * wide[tuple(part)]
        a = out
    return a


def bloom(rgb: Array, threshold: float, strength: float, radius: float) -> Array:
    """Add a soft halo around what is brighter than the threshold."""
    bright = np.maximum(rgb - threshold, 0)
    halo = blurred(bright, radius) + 0.6 * blurred(bright, radius * 3)
    return rgb + strength * halo


def vignette(rgb: Array, strength: float) -> Array:
    """Darken the corners."""
    x, y = grid(rgb.shape[0])
    far = ((x - 0.5) ** 2 + (y - 0.5) ** 2) * 2
    return rgb * (1 - strength * far**1.2)[..., None]


def filmic(rgb: Array, exposure: float = 1.0) -> Array:
    """Linear light to display values with soft highlights."""
    v = np.maximum(rgb, 0) * exposure
    v = v * (2.51 * v + 0.03) / (v * (2.43 * v + 0.59) + 0.14)
    return clip01(v) ** np.float32(1 / 2.2)


def sample(a: Array, x: Array, y: Array) -> Array:
    """Bilinear lookup at pixel positions, clamped at the edges."""
    height, width = a.shape[:2]
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    ix, iy = x.astype(np.int32), y.astype(np.int32)
    fx, fy = (x - ix).astype(np.float32), (y - iy).astype(np.float32)
    if a.ndim == 3:
        fx, fy = fx[..., None], fy[..., None]
    top = a[iy, ix] * (1 - fx) + a[iy, ix + 1] * fx
    low = a[iy + 1, ix] * (1 - fx) + a[iy + 1, ix + 1] * fx
    return top * (1 - fy) + low * fy


def to_image(rgb: Array) -> Image.Image:
    """Display values 0..1 to an 8-bit picture."""
    return Image.fromarray((clip01(rgb) * 255 + 0.5).astype(np.uint8))


def from_image(image: Image.Image) -> Array:
    """An 8-bit picture to display values 0..1."""
    return np.asarray(image, np.float32) / 255


def finished(rgb: Array, grain: float = 0.006, seed: int = 0) -> Image.Image:
    """Reduce to the final side and add a little grain."""
    small = resized(clip01(rgb), (SIDE, SIDE), Image.Resampling.LANCZOS)
    speck = np.random.default_rng(seed).normal(0, grain, (SIDE, SIDE, 1)).astype(np.float32)
    return to_image(small + speck)


# --- drawing ---------------------------------------------------------------------------------


def curve(points: Sequence[Sequence[float]], closed: bool = False, steps: int = 14) -> Array:
    """A Catmull-Rom spline through the points."""
    p = np.asarray(points, np.float32)
    if closed:
        p = np.concatenate([p[-1:], p, p[:2]])
    else:
        p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[:, None]
    parts = []
    for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True):
        cubic = (3 * b - a - 3 * c + d) * t**3 + (2 * a - 5 * b + 4 * c - d) * t**2
        parts.append(0.5 * (cubic + (c - a) * t + 2 * b))
    if not closed:
        parts.append(p[-2:-1])
    return np.concatenate(parts)


def mirrored(points: ArrayLike, axis: float = 0.5) -> Array:
    """The same points mirrored left to right."""
    p = np.array(points, np.float32)
    p[:, 0] = 2 * axis - p[:, 0]
    return p


def ellipse(cx: float, cy: float, rx: float, ry: float, turn: float = 0, n: int = 72) -> Array:
    """Outline of an ellipse turned by an angle in radians."""
    a = np.linspace(0, TAU, n, endpoint=False)
    x, y = rx * np.cos(a), ry * np.sin(a)
    c, s = np.cos(turn), np.sin(turn)
    return np.stack([cx + x * c - y * s, cy + x * s + y * c], -1).astype(np.float32)


def ribbon(line: ArrayLike, width: float | ArrayLike, tip: bool = True) -> Array:
    """Outline of a stroke along a line; with tip it thins out at both ends."""
    p = np.asarray(line, np.float32)
    tangent = np.gradient(p, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1])[:, None], 1e-6)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
    half = np.broadcast_to(np.asarray(width, np.float32) / 2, (len(p),)).copy()
    if tip:
        half = half * np.sin(np.linspace(0.02, np.pi - 0.02, len(p))) ** 0.7
    left, right = p + normal * half[:, None], p - normal * half[:, None]
    return np.concatenate([left, right[::-1]]).astype(np.float32)


class Canvas:
    """A square float picture with soft-edged shapes; coordinates run 0..1, y downwards."""

    def __init__(self, base: ArrayLike, size: int = CANVAS) -> None:
        """Start from a colour or from a size x size picture."""
        self.size = size
        self.rgb = np.empty((size, size, 3), np.float32)
        self.rgb[:] = base

    def mask(
        self, points: ArrayLike, soft: float = 0.0
    ) -> tuple[tuple[slice, slice], Array] | None:
        """Where and how much a polygon covers; soft is the blur of its edge."""
        p = np.asarray(points, np.float32) * self.size
        pad = 2 + soft * self.size * 2.6
        x0, y0 = np.maximum(np.floor(p.min(0) - pad), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(p.max(0) + pad), self.size).astype(int)
        if x1 <= x0 or y1 <= y0:
            return None
        big = Image.new("L", (2 * int(x1 - x0), 2 * int(y1 - y0)))
        corners = ((p - (x0, y0)) * 2).round(2)
        ImageDraw.Draw(big).polygon([tuple(map(float, c)) for c in corners], fill=255)
        cover = np.asarray(big.reduce(2), np.float32) / 255
        return (slice(y0, y1), slice(x0, x1)), blurred(cover, soft * self.size)

    def blend(self, where: tuple[slice, slice], cover: Array, paint: ArrayLike) -> None:
        """Lay paint (a colour or a whole picture) over a part of the canvas."""
        paint = np.asarray(paint, np.float32)
        if paint.ndim == 3:
            paint = paint[where]
        part = self.rgb[where]
        self.rgb[where] = part + (paint - part) * cover[..., None]

    def fill(
        self, points: ArrayLike, paint: ArrayLike | str, alpha: float = 1.0, soft: float = 0.0
    ) -> None:
        """Fill a polygon with a colour, a colour code or a picture."""
        found = self.mask(points, soft)
        if found:
            paint = color(paint) if isinstance(paint, str) else paint
            self.blend(found[0], found[1] * alpha, paint)

    def clipped(
        self, inside: ArrayLike, points: ArrayLike, paint: str, alpha: float, soft: float = 0.0
    ) -> None:
        """Fill a polygon only where it lies inside another one."""
        full = np.zeros((self.size, self.size), np.float32)
        for shape, blur in ((inside, 0.0), (points, soft)):
            found = self.mask(shape, blur)
            if not found:
                return
            layer = np.zeros_like(full)
            layer[found[0]] = found[1]
            full = layer if shape is inside else full * layer
        self.blend(found[0], full[found[0]] * alpha, color(paint))

    def line(
        self,
        points: ArrayLike,
        width: float | ArrayLike,
        paint: ArrayLike | str,
        alpha: float = 1.0,
        tip: bool = True,
        soft: float = 0.0,
    ) -> None:
        """Draw a stroke along a line."""
        self.fill(ribbon(points, width, tip), paint, alpha, soft)

    def disc(
        self,
        cx: float,
        cy: float,
        r: float,
        paint: ArrayLike | str,
        alpha: float = 1.0,
        soft: float = 0.0,
    ) -> None:
        """Fill a circle."""
        self.fill(ellipse(cx, cy, r, r), paint, alpha, soft)

    def glow(self, cx: float, cy: float, r: float, paint: ArrayLike, power: float = 2.0) -> None:
        """Add light that fades out with the distance."""
        x, y = grid(self.size)
        fade = clip01(1 - np.hypot(x - cx, y - cy) / r) ** power
        self.rgb += fade[..., None] * np.asarray(paint, np.float32)

    def pen(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        """An 8-bit copy to draw thousands of small shapes on; give it to take()."""
        image = to_image(self.rgb)
        return image, ImageDraw.Draw(image)

    def take(self, image: Image.Image) -> None:
        """Use an 8-bit picture as the canvas from now on."""
        self.rgb = from_image(image).copy()


# --- height-field terrain --------------------------------------------------------------------


class Terrain(NamedTuple):
    """A height map over x (columns) and z (rows), seen along z."""

    height: Array
    x: tuple[float, float]
    z: tuple[float, float]

    def pixel(self, x: Array, z: Array) -> tuple[Array, Array]:
        """Map positions in the world to pixel positions in the map."""
        rows, columns = self.height.shape
        return (
            (x - self.x[0]) / (self.x[1] - self.x[0]) * (columns - 1),
            (z - self.z[0]) / (self.z[1] - self.z[0]) * (rows - 1),
        )

    def slopes(self) -> tuple[Array, Array]:
        """Slope along x and along z."""
        rows, columns = self.height.shape
        along_z, along_x = np.gradient(self.height)
        step_x = (self.x[1] - self.x[0]) / (columns - 1)
        step_z = (self.z[1] - self.z[0]) / (rows - 1)
        return along_x / step_x, along_z / step_z

    def sunlit(self, toward: Color, soft: float = 8.0, steps: int = 90) -> Array:
        """1 where the light reaches the ground, 0 in the shadow of other ground."""
        rows, columns = self.height.shape
        step_x = (self.x[1] - self.x[0]) / (columns - 1)
        step_z = (self.z[1] - self.z[0]) / (rows - 1)
        flat = np.hypot(toward[0], toward[2])
        light = np.ones_like(self.height)
        for i in range(1, steps):
            reach = step_x * 1.5 * i * (1 + i / steps)
            dx = round(float(toward[0] / flat * reach / step_x))
            dz = round(float(toward[2] / flat * reach / step_z))
            rise = toward[1] / flat * reach
            other = np.roll(self.height, (-dz, -dx), (0, 1))
            light = np.minimum(light, 0.5 + soft * (self.height + rise - other) / (reach + 0.05))
        return clip01(light)

    def look(self, eye: float, focal: float, horizon: float, size: int, steps: int) -> Array:
        """Depth z seen by each pixel of a camera at x = 0, z = 0; not a number for sky."""
        near, far = max(self.z[0], 1e-3), self.z[1]
        zs = (near * (far / near) ** np.linspace(0, 1, steps)).astype(np.float32)
        column = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32) / focal
        wx, wz = np.meshgrid(column, zs)
        ground = sample(self.height, *self.pixel(wx * wz, wz))
        seen = focal * (ground - eye) / wz
        top = np.maximum.accumulate(seen, 0)
        rows = horizon - (np.arange(size) + 0.5) / size
        depth = np.full((size, size), np.nan, np.float32)
        for i in range(size):
            at = np.searchsorted(top[:, i], rows)
            hit = at < steps
            k = at[hit]
            before = np.maximum(k - 1, 0)
            low, high = seen[before, i], seen[k, i]
            part = clip01((rows[hit] - low) / np.maximum(high - low, 1e-6))
            depth[hit, i] = zs[before] + part * (zs[k] - zs[before])
        return depth


# --- ray-marched solids ----------------------------------------------------------------------


def unit(v: Sequence[float]) -> Array:
    """A vector of length one."""
    a = np.asarray(v, np.float32)
    return a / np.sqrt((a * a).sum())


def camera(
    eye: Sequence[float], target: Sequence[float], focal: float, x: Array, y: Array
) -> Vector:
    """Unit view directions through the picture points x, y (centre 0, y upwards)."""
    forward = unit(np.subtract(target, eye))
    right = unit(np.cross(forward, (0, 1, 0)))
    up = np.cross(right, forward)
    d = [right[i] * x + up[i] * y + forward[i] * focal for i in range(3)]
    length = np.sqrt(d[0] ** 2 + d[1] ** 2 + d[2] ** 2)
    return tuple((v / length).astype(np.float32) for v in d)


def inside_ball(
    eye: Sequence[float], way: Vector, centre: Sequence[float], radius: float
) -> tuple[Array, Array]:
    """Where each ray enters and leaves a sphere; leaving before entering is a miss."""
    o = [eye[i] - centre[i] for i in range(3)]
    b = sum(o[i] * way[i] for i in range(3))
    root = b * b - (sum(v * v for v in o) - radius**2)
    half = np.sqrt(np.maximum(root, 0))
    return (-b - half).astype(np.float32), np.where(root > 0, half - b, -1e9).astype(np.float32)


def march(
    solid: Solid, eye: Sequence[float], way: Vector, near: Array, far: Array, steps: int
) -> Array:
    """Distance along each ray to the solid between near and far; infinite for a miss."""
    out = np.full(way[0].size, np.inf, np.float32)
    for chunk in np.array_split(np.flatnonzero(far > near), max((far > near).sum() // 12288, 1)):
        at, t, end = chunk, near[chunk], far[chunk]
        o = [np.full(at.size, e, np.float32) for e in eye]
        d = [v[at] for v in way]
        for _ in range(steps):
            gap = solid(*(o[i] + d[i] * t for i in range(3)))
            t = t + gap
            done = gap < 0.0006 * (1 + t)
            out[at[done]] = t[done]
            keep = ~done & (t < end)
            if not keep.any():
                break
            at, t, end = at[keep], t[keep], end[keep]
            o, d = [v[keep] for v in o], [v[keep] for v in d]
    return out


def normals(solid: Solid, p: Vector, step: float = 0.002) -> Vector:
    """Unit surface normals from four looks at the solid around each point."""
    total = [np.zeros_like(p[0]) for _ in range(3)]
    for sx, sy, sz in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        gap = solid(p[0] + sx * step, p[1] + sy * step, p[2] + sz * step)
        for i, sign in enumerate((sx, sy, sz)):
            total[i] += sign * gap
    length = np.maximum(np.sqrt(sum(v * v for v in total)), 1e-9)
    return tuple(v / length for v in total)


def shadow(solid: Solid, p: Vector, toward: Array, sharp: float, far: float, steps: int) -> Array:
    """How much of a soft light each point sees, 0..1."""
    count = p[0].size
    out = np.ones(count, np.float32)
    for start in range(0, count, 16384):
        at = np.arange(start, min(start + 16384, count))
        o = [v[at] for v in p]
        t = np.full(at.size, 0.02, np.float32)
        for _ in range(steps):
            gap = solid(*(o[i] + toward[i] * t for i in range(3)))
            out[at] = np.minimum(out[at], sharp * gap / t)
            t = t + np.clip(gap, 0.015, 0.25)
            keep = (out[at] > 0.004) & (t < far)
            if not keep.any():
                break
            at, t, o = at[keep], t[keep], [v[keep] for v in o]
    s = clip01(out)
    return s * s * (3 - 2 * s)


def occlusion(solid: Solid, p: Vector, n: Vector, reach: float = 0.25) -> Array:
    """Ambient occlusion, 1 for open and 0 for buried points."""
    total, weight = np.zeros_like(p[0]), 1.0
    for i in range(1, 5):
        h = reach * i / 4
        gap = solid(*(p[k] + n[k] * h for k in range(3)))
        total += (h - gap) * weight
        weight *= 0.7
    return clip01(1 - 1.4 * total / reach / 2)


def dot(a: Vector, b: Sequence[Array | float]) -> Array:
    """Dot product of vectors kept as three arrays."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


# The lists of points below stay packed.
# fmt: off

# --- 01 mountain lake ------------------------------------------------------------------------


def clouds(x: Array, y: Array, seed: int, cover: float) -> Array:
    """Streaky cloud density 0..1; y is stretched towards the horizon."""
    wx = x + 0.25 * fbm(x * 2, y * 5, 3, seed + 20)
    return ramp(0.25 - cover, 0.75 - cover, fbm(wx * 2.2, y * 9, 6, seed))


def pine(draw: ImageDraw.ImageDraw, x: float, base: float, tall: float, rgb: Color,
         rng: np.random.Generator) -> None:
    """One fir tree as many drooping boughs; measures in canvas pixels."""
    ink = tuple(int(255 * c) for c in rgb)
    draw.line([(x, base), (x, base - tall)], fill=ink, width=max(int(tall * 0.014), 1))
    layers = int(np.clip(tall / 5, 12, 60))
    for i in range(layers):
        t = (i + rng.uniform(-0.3, 0.3)) / layers
        y = base - tall * (0.05 + 0.95 * t)
        reach = tall * 0.2 * (1 - t) ** 0.85 * rng.uniform(0.7, 1.1) + 1.5
        drop = reach * rng.uniform(0.25, 0.55)
        thick = max(tall * 0.028 * (1.1 - t), 1.5)
        shade = tuple(int(c * rng.uniform(0.8, 1.25)) for c in ink)
        for side in (-1, 1):
            r = reach * rng.uniform(0.75, 1.1)
            draw.polygon(
                [(x, y - thick), (x + side * r * 0.5, y + drop * 0.35 - thick * 0.4),
                 (x + side * r, y + drop), (x + side * r * 0.6, y + drop * 0.95 + thick * 0.5),
                 (x + side * r * 0.45, y + drop * 0.6 + thick * 0.4), (x, y + thick)],
                fill=shade,
            )


def alpine_ground(size: int = 1050) -> Terrain:
    """A snowy massif behind a flat lake shore."""
    xr, zr = (-4.2, 4.2), (1.4, 8.4)
    x, z = np.meshgrid(
        np.linspace(*xr, size, dtype=np.float32), np.linspace(*zr, size, dtype=np.float32)
    )
    wx = x + 0.16 * fbm(x * 1.3, z * 1.3, 3, 70)
    wz = z + 0.16 * fbm(x * 1.3, z * 1.3, 3, 80)
    peaks = np.zeros_like(x)
    for px, pz, tall, wide in ((0.25, 4.7, 1.5, 1.0), (-0.95, 5.4, 1.15, 0.9),
                               (1.6, 5.3, 1.3, 0.95), (-2.2, 4.9, 1.35, 0.95),
                               (2.7, 4.8, 1.2, 0.9), (0.9, 7.0, 1.6, 0.9), (-1.5, 7.2, 1.7, 0.9)):
        far = np.hypot(wx - px, (wz - pz) * 0.9) / wide
        peaks = np.maximum(peaks, tall * np.exp(-(far**1.15) * 0.95))
    crag = ridges(wx * 0.8 + 3.1, wz * 0.8, 7, 40) + 0.25 * ridges(wx * 2.9, wz * 2.9, 5, 50)
    height = peaks * (0.5 + 0.72 * crag)
    hills = 0.3 * ramp(2.1, 3.4, z + 0.5 * np.abs(x)) * (0.55 + 0.45 * fbm(x * 1.1, z * 1.1, 5, 60))
    return Terrain((height * ramp(2.2, 3.8, z) + hills - 0.012).astype(np.float32), xr, zr)


def mountain_lake() -> Array:
    """Snowy mountains at sunset, mirrored in a lake between fir trees."""
    size, horizon, eye, focal = CANVAS, 0.6, 0.05, 1.15
    x, y = grid(size)
    up = clip01((horizon - y) / horizon)
    sun_x, sun_y = 0.13, 0.47
    sky = gradient(up, (0.0, "ffb070"), (0.12, "ff9a6b"), (0.3, "e9788a"), (0.5, "a5679f"),
                   (0.75, "55559a"), (1.0, "262f6b"))
    near_sun = np.exp(-np.hypot(x - sun_x, (y - sun_y) * 1.5) * 3.2)
    sky += near_sun[..., None] * color("ffb24d") * 0.75
    puff = clouds(x, 1.6 * (y - 0.2) / (0.5 + y), 5, 0.12) * ramp(0.0, 0.18, up)
    lit = clip01(0.25 + 1.6 * near_sun + 0.5 * (fbm(x * 3, y * 12, 4, 9)))
    sky = mix(sky, mix(color("6d5a92"), color("ffb98f"), lit), puff * 0.85)
    ground = alpine_ground()
    depth = ground.look(eye, focal, horizon, size, 1100)
    solid = np.isfinite(depth)
    z = np.where(solid, depth, 8).astype(np.float32)
    wx = (x - 0.5) / focal * z
    slope_x, slope_z = ground.slopes()
    at = ground.pixel(wx, z)
    sx, sz = sample(slope_x, *at), sample(slope_z, *at)
    h = sample(ground.height, *at)
    steep = np.sqrt(sx**2 + sz**2)
    norm = 1 / np.sqrt(1 + sx**2 + sz**2)
    toward = unit((-0.82, 0.4, -0.42))
    facing = np.clip((-sx * toward[0] + toward[1] - sz * toward[2]) * norm, 0, 1)
    direct = facing * sample(ground.sunlit(tuple(toward), 6.0), *at)
    rough = fbm(wx * 9, z * 9, 5, 90)
    snow = ramp(0.18, 0.5, h * 0.9 + 0.22 * rough) * ramp(2.9, 1.7, steep + 0.7 * rough)
    trees = ramp(0.4, 0.2, h + 0.12 * rough)
    albedo = mix(mix(color("4a4350"), color("6f6264"), 0.5 + 0.5 * rough), color("f4f4fb"), snow)
    albedo = mix(albedo, color("2c4034") * (0.8 + 0.5 * rough)[..., None], trees)
    light = direct[..., None] * color("ffab7a") * 1.5
    light = light + (0.45 + 0.25 * norm)[..., None] * color("7480c8") * 1.15
    land = albedo * light
    haze = 1 - np.exp(-np.maximum(z - 2.0, 0) * 0.1 - 0.55 * ramp(0.32, 0.0, h))
    land = mix(land, mix(color("b07d9a"), color("ffb27c"), clip01(near_sun * 1.6)), haze * 0.75)
    scene = np.where(solid[..., None], land, sky)
    canvas = Canvas(scene, size)
    image, draw = canvas.pen()
    rng = np.random.default_rng(11)
    for _ in range(420):
        px = rng.uniform(0, 1)
        tall = rng.uniform(12, 34) * (0.75 + 1.3 * abs(px - 0.5))
        shade = rng.uniform(0.8, 1.2)
        pine(draw, px * size, horizon * size + rng.uniform(-5, 2), tall,
             (0.13 * shade, 0.14 * shade, 0.18 * shade), rng)
    canvas.take(image)
    scene = canvas.rgb
    below = clip01((y - horizon) / (1 - horizon))
    far = 1 / (below + 0.03)
    wave = fbm(x * 6 * (0.4 + below), far * 5.0, 4, 33) * (0.006 + 0.05 * below)
    swell = noise(x * 18, far * 16, 37) * (0.002 + 0.014 * below)
    source = 2 * horizon - y + wave + swell
    shift = fbm(x * 9, far * 4, 3, 44) * 0.012 * below
    mirror = sample(scene, (x + shift) * size, np.minimum(source, horizon - 0.002) * size)
    mirror = 0.5 * mirror + 0.5 * sample(
        blurred(scene, 4), (x + shift) * size, np.minimum(source, horizon - 0.002) * size)
    water = mirror * mix(color("dfe4f4"), color("7c86b4"), below**0.8) * 0.96
    gleam = np.exp(-np.abs(x - sun_x) * 5) * ramp(0.25, 0.6, noise(x * 14, far * 22, 51))
    water += (gleam * (1 - below) * 0.35)[..., None] * color("ffb877")
    scene = np.where((y > horizon)[..., None], water, scene)
    shore = np.exp(-np.abs(y - horizon) * 260) * 0.5
    scene = mix(scene, color("ffc9a0"), shore * 0.55)
    return near_shore(scene, rng)


def near_shore(scene: Array, rng: np.random.Generator) -> Array:
    """Rocks and tall firs in front of the lake, then the evening light over all."""
    canvas, size = Canvas(scene), CANVAS
    image, draw = canvas.pen()
    for px, base, tall in ((0.015, 0.93, 0.62), (0.1, 0.97, 0.47), (0.175, 0.985, 0.31),
                           (0.985, 0.95, 0.7), (0.905, 0.985, 0.5), (0.835, 1.0, 0.3),
                           (0.06, 1.0, 0.36), (0.955, 1.01, 0.4)):
        pine(draw, px * size, base * size, tall * size, (0.075, 0.085, 0.115), rng)
    canvas.take(image)
    x, y = grid()
    edge = 0.93 + 0.085 * np.sin(np.clip(x, 0, 1) * np.pi) ** 0.7 + 0.02 * fbm(x * 5, x * 0, 4, 61)
    bank = ramp(-0.004, 0.004, y - edge)
    stone = fbm(x * 16, y * 26, 5, 64)
    earth = mix(color("1a1822"), color("4b3a3d"), ramp(-0.2, 0.7, stone + 4 * (edge - y) + 0.2))
    out = mix(canvas.rgb, earth, bank)
    rim = np.exp(-np.abs(y - edge - 0.003) * 300)
    out += (rim * 0.18)[..., None] * color("ffb080")
    return vignette(bloom(clip01(out) ** np.float32(0.86), 0.82, 0.3, 14), 0.22)


# --- 10 desert dunes -------------------------------------------------------------------------


def dune_ground(size: int = 1000) -> Terrain:
    """Long dunes with one gentle and one steep side."""
    xr, zr = (-9.0, 9.0), (0.8, 18.0)
    x, z = np.meshgrid(
        np.linspace(*xr, size, dtype=np.float32), np.linspace(*zr, size, dtype=np.float32)
    )
    height = np.zeros_like(x)
    for scale, tall, seed, turn in ((0.26, 1.15, 3, 0.5), (0.62, 0.22, 7, 0.2)):
        phase = (x * np.cos(turn) + z * np.sin(turn)) * scale
        phase = phase + 0.75 * fbm(x * scale * 0.9, z * scale * 0.6, 2, seed)
        saw = phase - np.floor(phase)
        shape = np.where(saw < 0.66, (saw / 0.66) ** 1.35, ((1 - saw) / 0.34) ** 1.1)
        height += tall * shape * (0.65 + 0.5 * fbm(x * 0.22, z * 0.22, 2, seed + 4))
    height *= ramp(0.6, 5.0, z) * 0.8 + 0.2
    return Terrain((blurred(height, 1.2) - 0.3).astype(np.float32), xr, zr)


def moon_disc(x: Array, y: Array, cx: float, cy: float, r: float) -> tuple[Array, Array]:
    """Colour and cover of a full moon with seas and craters."""
    cover = ramp(1.0, 0.992, np.hypot(x - cx, y - cy) / r)
    rows, columns = np.flatnonzero(cover.max(1)), np.flatnonzero(cover.max(0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    dx, dy = (x[part] - cx) / r, (y[part] - cy) / r
    far = np.hypot(dx, dy)
    bulge = np.sqrt(np.clip(1 - far**2, 0, 1))
    seas = ramp(-0.1, 0.45, fbm(dx * 1.5 + 4, dy * 1.5 + 1, 5, 21))
    tone = 1.02 - 0.34 * seas + 0.07 * fbm(dx * 7, dy * 7, 5, 25)
    rng = np.random.default_rng(3)
    for _ in range(90):
        angle, dist = rng.uniform(0, TAU), np.sqrt(rng.uniform(0, 0.9))
        size = 0.015 + 0.09 * rng.uniform() ** 4
        px, py = dist * np.cos(angle), dist * np.sin(angle)
        ring = np.hypot(dx - px, dy - py) / size
        tone += 0.13 * np.exp(-((ring - 1) ** 2) * 14) - 0.09 * np.exp(-(ring**4))
        if size > 0.05:
            ray = np.exp(-ring * 0.35) * (0.5 + 0.5 * noise(np.arctan2(dy - py, dx - px) * 5, ring
                                                            * 0.1, 8))
            tone += 0.1 * ray
    rgb = np.zeros((*x.shape, 3), np.float32)
    shade = tone * (0.72 + 0.28 * bulge)
    rgb[part] = gradient(shade, (0.3, "8a6f66"), (0.75, "e9cfa8"), (1.1, "fff6df"))
    return rgb, cover


def camel(canvas: Canvas, x: float, y: float, s: float) -> None:
    """A dark walking camel with its rider; s is the height."""
    body = curve([(-0.5, -0.52), (-0.36, -0.66), (-0.18, -0.67), (-0.04, -0.92), (0.1, -0.68),
                  (0.26, -0.66), (0.4, -0.52), (0.52, -0.48), (0.62, -0.66), (0.66, -0.9),
                  (0.74, -0.98), (0.9, -0.92), (0.92, -0.84), (0.78, -0.83), (0.74, -0.66),
                  (0.62, -0.38), (0.42, -0.34), (0.1, -0.36), (-0.3, -0.36), (-0.48, -0.4)],
                 True, 6)
    legs = [[(-0.42, -0.5), (-0.48, -0.25), (-0.42, 0)], [(-0.33, -0.45), (-0.24, -0.22),
            (-0.3, 0)], [(0.3, -0.45), (0.36, -0.22), (0.44, 0)], [(0.38, -0.45), (0.3, -0.2),
            (0.24, 0)]]
    ink = "1c1424"
    canvas.fill(body * s + (x, y), ink)
    for leg in legs:
        canvas.line(curve(leg) * s + (x, y), 0.075 * s, ink, tip=False)
    canvas.line(curve([(-0.5, -0.5), (-0.6, -0.38), (-0.58, -0.25)]) * s + (x, y), 0.04 * s, ink)
    rider = curve([(-0.14, -0.72), (-0.1, -1.05), (-0.03, -1.18), (0.06, -1.05), (0.14, -0.72)],
                  True, 6)
    canvas.fill(rider * s + (x, y), "38202e")
    canvas.disc(x - 0.02 * s, y - 1.22 * s, 0.075 * s, "e2c8a8")


def desert_moon() -> Array:
    """Sand dunes at nightfall below a huge moon, with a small caravan."""
    size, horizon, eye, focal = CANVAS, 0.585, 0.95, 0.95
    x, y = grid(size)
    up = clip01((0.62 - y) / 0.62)
    sky = gradient(up, (0.0, "f08a5d"), (0.12, "d0607a"), (0.32, "7d4690"), (0.6, "33307a"),
                   (1.0, "0d1440"))
    rng = np.random.default_rng(5)
    image, draw = Canvas(np.zeros(3)).pen()
    for _ in range(300):
        px, py = rng.uniform(0, size), rng.uniform(0, 0.55) * size
        r = 0.5 + 1.6 * rng.uniform() ** 6
        level = int(255 * rng.uniform(0.15, 1) ** 1.5 * (1 - py / (0.62 * size)))
        draw.ellipse((px - r, py - r, px + r, py + r), fill=(level, level, min(level + 20, 255)))
    sky += from_image(image)
    cx, cy, r = 0.63, 0.27, 0.185
    far = np.hypot(x - cx, y - cy)
    sky += (np.exp(-np.maximum(far - r, 0) * 7) * 0.42)[..., None] * color("ffd9a0")
    face, cover = moon_disc(x, y, cx, cy, r)
    sky = mix(sky, face * 0.97, cover)
    mist = clouds(x, y * 1.6, 66, -0.02) * ramp(0.05, 0.3, up) * 0.55
    sky = mix(sky, mix(color("8a4f86"), color("ffc59a"), np.exp(-far * 4)), mist)
    ground = dune_ground()
    depth = ground.look(eye, focal, horizon, size, 1200)
    solid = np.isfinite(depth)
    z = np.where(solid, depth, 18).astype(np.float32)
    wx = (x - 0.5) / focal * z
    at = ground.pixel(wx, z)
    slope_x, slope_z = ground.slopes()
    sx, sz = sample(slope_x, *at), sample(slope_z, *at)
    near = np.exp(-z * 0.3)
    wind = noise(wx * 2.2, z * 2.2, 31)
    comb = np.sin((wx * 0.55 + z * 1.0) * 60 + 5 * wind + 4 * noise(wx * 6, z * 6, 32))
    sz = sz + 0.24 * comb * near
    sx = sx + 0.14 * comb * near
    norm = 1 / np.sqrt(1 + sx**2 + sz**2)
    toward = unit((0.8, 0.5, 0.25))
    facing = np.clip((-sx * toward[0] + toward[1] - sz * toward[2]) * norm, 0, 1)
    direct = facing * sample(ground.sunlit(tuple(toward), 7.0, 80), *at)
    grains = 1 + 0.1 * fbm(wx * 30, z * 30, 3, 35)
    sand = color("e8a565") * grains[..., None]
    light = direct[..., None] * color("ffd09a") * 1.75 + color("5a4a9a") * (0.42 + 0.25 * norm)[
        ..., None]
    land = sand * light
    haze = 1 - np.exp(-np.maximum(z - 3, 0) * 0.085)
    land = mix(land, color("d0657a"), haze * 0.85)
    canvas = Canvas(np.where(solid[..., None], land, sky), size)
    return canvas.rgb, depth


def desert_caravan() -> Array:
    """The dunes with camels on a far crest."""
    rgb, depth = desert_moon()
    canvas = Canvas(rgb)
    top = np.argmax(np.isfinite(depth), 0) / CANVAS
    for i in range(5):
        px = 0.2 + 0.067 * i
        camel(canvas, px, float(top[int(px * CANVAS)]) + 0.006, 0.046)
    return vignette(bloom(canvas.rgb, 0.85, 0.3, 16), 0.3)


# --- 11 kaleidoscope fractal -----------------------------------------------------------------


def palette(t: Array, phase: Color) -> Array:
    """A smooth cycle of colours."""
    return np.stack([0.5 + 0.5 * np.cos(TAU * (t + p)) for p in phase], -1).astype(np.float32)


def kaleidoscope() -> Array:
    """A folded plane, iterated as a Julia set and coloured by its orbit traps."""
    size = CANVAS
    x, y = grid(size)
    half = size // 2
    x, y = (x[half:, half:] - 0.5) * 2.3, (y[half:, half:] - 0.5) * 2.3
    radius, angle = np.hypot(x, y), np.arctan2(y, x) + 0.0
    slices = 8
    wedge = TAU / slices
    folded = np.abs((angle % wedge) - wedge / 2)
    warp = 0.06 * np.sin(radius * 9 - 0.6)
    re = radius * np.cos(folded + warp) * 1.02 - 0.32
    im = radius * np.sin(folded + warp) * 1.02 + 0.02
    zr, zi = re.astype(np.float64), im.astype(np.float64)
    cr, ci = -0.7436, 0.1688
    smooth = np.zeros_like(zr)
    live = np.ones(zr.shape, bool)
    trap_point, trap_line, trap_ring = (np.full(zr.shape, 9.0) for _ in range(3))
    for i in range(90):
        zr, zi = np.where(live, zr * zr - zi * zi + cr, zr), np.where(live, 2 * zr * zi + ci, zi)
        mag = zr * zr + zi * zi
        spot = np.hypot(zr - 0.3, zi - 0.1)
        trap_point = np.where(live, np.minimum(trap_point, spot), trap_point)
        trap_line = np.where(live, np.minimum(trap_line, np.abs(zr + 0.6 * zi)), trap_line)
        trap_ring = np.where(live, np.minimum(trap_ring, np.abs(np.sqrt(mag) - 0.55)), trap_ring)
        out = live & (mag > 64)
        smooth[out] = i + 1 - np.log2(np.log(mag[out]) / np.log(8))
        live &= ~out
        if not live.any():
            break
    inside = live
    s = np.sqrt(np.maximum(smooth, 0)).astype(np.float32)
    s[inside] = 2.2 + 3 * trap_point[inside].astype(np.float32)
    base = palette(s * 0.34 + 0.3 * radius.astype(np.float32), (0.0, 0.33, 0.62))
    glow = palette(np.log(trap_point + 0.02).astype(np.float32) * 0.35, (0.55, 0.75, 0.1))
    rgb = mix(base * 0.75, glow, np.exp(-trap_point * 2.0) * 0.8)
    rgb += np.exp(-trap_line * 60)[..., None] * color("ffd36b") * 0.5
    rgb += np.exp(-trap_ring * 60)[..., None] * color("6be7ff") * 0.4
    rgb *= (0.3 + 0.6 * ramp(0.6, 3.6, s))[..., None]
    rgb = mix(rgb, color("1b0735"), ramp(0.95, 1.75, radius) * 0.75)
    rgb += (np.exp(-radius * 9) * 0.6)[..., None] * color("fff0c0")
    rgb = np.concatenate([rgb[:, ::-1], rgb], 1)
    rgb = np.concatenate([rgb[::-1], rgb], 0)
    return vignette(bloom(rgb, 0.85, 0.25, 8), 0.2)


# --- 02 spaceship ----------------------------------------------------------------------------


def star_field(count: int, seed: int) -> Array:
    """Stars of many sizes on black, the largest ones with four-pointed flares."""
    canvas = Canvas(np.zeros(3))
    image, draw = canvas.pen()
    rng = np.random.default_rng(seed)
    for _ in range(count):
        px, py = rng.uniform(0, CANVAS, 2)
        r, level = 0.6 + 1.5 * rng.uniform() ** 8, rng.uniform(0.25, 1)
        tint = mix(color("ffd9b0"), color("b9d4ff"), np.float32(rng.uniform()))
        ink = tuple(int(255 * level * c) for c in tint)
        draw.ellipse((px - r, py - r, px + r, py + r), fill=ink)
    canvas.take(image)
    x, y = grid()
    for _ in range(9):
        px, py, s = rng.uniform(0.03, 0.97), rng.uniform(0.03, 0.6), rng.uniform(0.5, 1.2)
        rows = slice(int(max(py - 0.13, 0) * CANVAS), int((py + 0.13) * CANVAS))
        part = slice(int(max(px - 0.13, 0) * CANVAS), int((px + 0.13) * CANVAS))
        dx, dy = np.abs(x[rows, part] - px) / s, np.abs(y[rows, part] - py) / s
        flare = np.exp(-dx * 60 - dy * 900) + np.exp(-dy * 60 - dx * 900)
        flare += 1.2 * np.exp(-((dx**2 + dy**2) * 90000)) + 0.25 * np.exp(-np.hypot(dx, dy) * 70)
        canvas.rgb[rows, part] += flare[..., None] * color("cfe0ff")
    return canvas.rgb


def nebula() -> Array:
    """Glowing gas with dark dust lanes."""
    x, y = grid(CANVAS // 2)
    wx = fbm(x * 2.4, y * 2.4, 4, 101)
    wy = fbm(x * 2.4 + 5, y * 2.4 + 2, 4, 105)
    gas = fbm(x * 2.2 + wx * 0.9, y * 2.2 + wy * 0.9, 6, 110)
    fine = fbm(x * 4 + wy * 1.2, y * 4 - wx * 1.2, 6, 120)
    band = np.exp(-(((y - 0.62 + 0.75 * (x - 0.3) + 0.2 * wx) / 0.34) ** 2))
    dense = clip01(0.35 + 0.9 * gas) * (0.25 + band)
    rgb = color("070b1e") + dense[..., None] ** 1.6 * color("5b2a9c") * 1.1
    rgb = rgb + (clip01(0.2 + fine) ** 2 * band * dense)[..., None] * color("ff5fa8") * 1.2
    rgb = rgb + (clip01(gas - 0.1) ** 1.5 * (1 - band * 0.5))[..., None] * color("1fb5c9") * 0.8
    rgb = rgb + (clip01(fine + gas - 0.35) ** 2 * band)[..., None] * color("ffcf8a") * 1.4
    rgb = rgb * (1 - 0.6 * ramp(0.15, 0.6, fbm(x * 3 - wx, y * 3 + wx, 5, 130)) * band)[..., None]
    return resized(rgb, (CANVAS, CANVAS), Image.Resampling.BICUBIC)


def planet(rgb: Array, cx: float, cy: float, r: float, toward: Array) -> Array:
    """Lay a blue planet with seas, land, clouds and a bright air rim over the picture."""
    x, y = grid()
    dx, dy = (x - cx) / r, -(y - cy) / r
    far = np.hypot(dx, dy)
    dz = np.sqrt(np.clip(1 - far**2, 0, 1))
    ca, sa = np.cos(0.5), np.sin(0.5)
    px, py = dx * ca - dy * sa, dx * sa + dy * ca
    inside = far < 1.01
    p = tuple(v[inside] * 1.0 for v in (px, py, dz))
    warp = fbm3(p[0] * 3, p[1] * 3, p[2] * 3, 3, 9)
    land = fbm3(p[0] * 2.1 + 3, p[1] * 2.1, p[2] * 2.1 + 0.4 * warp, 7, 2)
    cloud = fbm3(p[0] * 2.6 + warp * 0.7, p[1] * 5.2 + warp * 0.5, p[2] * 2.6 + 9, 7, 4)
    sea = gradient(land, (-0.5, "061f52"), (0.0, "0d4a8f"), (0.08, "2b9bb8"))
    soil = gradient(land, (0.08, "4c7a3a"), (0.25, "6f7d3d"), (0.45, "a3875a"), (0.7, "e9e2d6"))
    ground = mix(sea, soil, ramp(0.06, 0.1, land))
    ground = mix(ground, color("ffffff"), ramp(0.12, 0.75, cloud) * 0.85)
    ground = mix(ground, color("f4f8ff"), ramp(0.78, 0.92, np.abs(p[1]) + 0.1 * warp))
    sun = dx * toward[0] + dy * toward[1] + dz * toward[2]
    day = clip01(sun[inside] * 1.25 + 0.06)
    lights = ramp(0.35, 0.75, fbm3(p[0] * 16, p[1] * 16, p[2] * 16, 3, 14)) * ramp(0.1, 0.2, land)
    ground = ground * (day[..., None] * color("fff3e2") * 1.2 + 0.012)
    ground = ground + (lights * (1 - ramp(0, 0.12, day)) * 0.5)[..., None] * color("ffb257")
    shine = np.clip(sun[inside], 0, 1) ** 22 * (land < 0.06) * 0.35
    ground = ground + shine[..., None] * color("fff0d8")
    limb = (1 - dz[inside]) ** 2.6
    ground = ground + (limb * clip01(day + 0.15))[..., None] * color("6fb8ff") * 0.95
    full = np.zeros_like(rgb)
    full[inside] = ground
    out = mix(rgb, full, ramp(1.003, 0.997, far))
    lit = clip01((dx * toward[0] + dy * toward[1]) / np.maximum(far, 1e-3) * 0.8 + 0.45)
    air = np.exp(-np.maximum(far - 1, 0) * 26) * (far >= 0.997) * lit
    return out + air[..., None] * color("5aa8ff") * 0.85


def plate(x: Array, z: Array, y: Array, edges: Sequence[tuple[float, float, float]],
          thick: Array | float) -> Array:
    """A flat plate bounded by half planes a * x + b * z < c."""
    gap = np.abs(y) - thick
    for a, b, c in edges:
        gap = np.maximum(gap, (a * x + b * z - c) / np.hypot(a, b))
    return gap


def capsule(p: Vector, a: Sequence[float], b: Sequence[float], r: float) -> Array:
    """Distance to a rod with round ends."""
    d = np.subtract(b, a)
    q = tuple(p[i] - a[i] for i in range(3))
    t = np.clip(dot(q, d) / float((d * d).sum()), 0, 1)
    return np.sqrt(sum((q[i] - d[i] * t) ** 2 for i in range(3))) - r


def ship_parts(x: Array, y: Array, z: Array) -> list[Array]:
    """Distances to hull, wings, engines, trim and canopy; the nose points along +z."""
    x = np.abs(x)
    t = np.clip((z + 1.3) / 2.9, 0, 1)
    girth = 0.05 + 0.3 * np.sqrt(np.clip(t * 2.2, 0, 1)) * np.clip(1.02 - t, 0, 1) ** 0.62
    hull = np.hypot(x * 0.9, y * 1.25) - girth
    hull = np.maximum(hull, np.maximum(z - 1.6, -1.3 - z)) * 0.7
    spine = plate(x, z, y - 0.14, [(1, 0, 0.11), (0.3, 1, 0.3), (0, -1, 1.25)],
                  0.1 + 0.03 * clip01(-z)) - 0.05
    wing = plate(x, z, y + 0.04 - 0.1 * x, [(0.75, 1, 0.72), (0, -1, 1.0), (1, 0, 1.5),
                                           (0.35, -1, 1.15)], 0.05 * (1.25 - 0.6 * x)) - 0.012
    canard = plate(x, z, y - 0.02, [(0.7, 1, 1.2), (0.1, -1, -0.72), (1, 0, 0.58)], 0.02) - 0.008
    fin = plate(y, z, x - 0.34 - 0.4 * y, [(0.9, 1, -0.28), (0.2, -1, 1.12), (1, 0, 0.72),
                                           (-1, 0, 0)], 0.025) - 0.008
    pod = capsule((x, y, z), (0.6, 0.0, -0.95), (0.6, 0.0, -0.1), 0.165)
    pod = np.minimum(pod, np.maximum(np.hypot(x - 0.6, y) - 0.19, np.abs(z + 1.02) - 0.17))
    pod = np.maximum(pod, -np.maximum(np.hypot(x - 0.6, y) - 0.14, z + 1.05))
    main = np.maximum(np.hypot(x, y) - 0.24, np.abs(z + 1.32) - 0.1)
    main = np.maximum(main, -np.maximum(np.hypot(x, y) - 0.19, z + 1.3))
    tip = capsule((x, y, z), (1.5, 0.11, -0.95), (1.5, 0.11, 0.15), 0.05)
    gun = capsule((x, y, z), (1.5, 0.11, 0.1), (1.5, 0.11, 0.62), 0.018)
    canopy = np.sqrt((x / 0.13) ** 2 + ((y - 0.17) / 0.12) ** 2 + ((z - 0.62) / 0.36) ** 2) - 1
    body = np.minimum(np.minimum(hull, spine), fin)
    return [body, np.minimum(wing, canard), np.minimum(pod, main), np.minimum(tip, gun),
            canopy * 0.11]


def ship_solid(x: Array, y: Array, z: Array) -> Array:
    """Distance to the whole ship."""
    gap = np.minimum.reduce(ship_parts(x, y, z))
    return gap * 0.85


def ship_colors(p: Vector) -> Array:
    """Painted panels, red stripes, dark engines and a glass canopy."""
    kind = np.argmin(np.stack(ship_parts(*p)), 0)
    ax = np.abs(p[0])
    u, v = ax * 8, p[2] * 4.5
    row = np.floor(v)
    panel = cell_hash(u + 0.5 * (row % 2), v, 3)
    seam = np.minimum(np.abs(v - np.round(v)), np.abs(u + 0.5 * (row % 2) - np.round(
        u + 0.5 * (row % 2))))
    base = color("c9ced8") * (0.88 + 0.16 * panel)[..., None]
    stripe = (kind == 1) & (np.abs(p[2] + 0.75 * ax - 0.5) < 0.09)
    stripe |= (kind == 0) & (np.abs(p[2] - 1.05) < 0.09) | (kind == 0) & (p[1] > 0.5)
    base[stripe] = color("c8342b")
    base *= (0.78 + 0.22 * ramp(0.0, 0.05, seam))[..., None]
    base[kind == 2] *= color("6d7484")
    base[kind == 3] *= color("8d93a3")
    base[kind == 4] = color("0c1a33")
    return base


def spaceship() -> Array:
    """A starfighter above a blue planet in front of a nebula."""
    toward = unit((-0.62, 0.62, 0.5))
    rgb = nebula() + star_field(900, 12)
    moon_x, moon_y, moon_r = 0.86, 0.16, 0.062
    x, y = grid()
    face, cover = moon_disc(x, y, moon_x, moon_y, moon_r)
    side = clip01(((moon_x - x) * 0.75 + (moon_y - y) * 0.65) / moon_r * 0.8 + 0.4)
    rgb = mix(rgb, face * (0.05 + 0.9 * side)[..., None], cover)
    rgb = planet(rgb, 0.74, 1.04, 0.56, toward)
    eye, target, focal = np.array((2.7, 1.75, 3.1)), np.array((0.05, 0.0, 0.0)), 1.14
    px, py = (x - 0.5).ravel(), -(y - 0.38).ravel()
    turn = 0.3
    px, py = px * np.cos(turn) - py * np.sin(turn), px * np.sin(turn) + py * np.cos(turn)
    way = camera(eye, target, focal, px, py)
    near = np.flatnonzero(np.hypot(px, py) < 0.5)
    ray = tuple(v[near] for v in way)
    t = march(ship_solid, eye, ray, *inside_ball(eye, ray, (0, 0.05, 0), 2.0), 70)
    hit = np.isfinite(t)
    ray = tuple(v[hit] for v in ray)
    p = tuple(eye[i].astype(np.float32) + ray[i] * t[hit] for i in range(3))
    n = normals(ship_solid, p)
    light = unit((0.25, 0.85, 0.55))
    direct = np.clip(dot(n, light), 0, 1) * shadow(ship_solid, p, light, 14, 3.0, 40)
    ambient = occlusion(ship_solid, p, n, 0.2)
    bounce = ambient[..., None] * (color("2c3a70") * 0.75 + clip01(-n[1])[..., None]
                                   * color("3f8bd0") * 0.6 + clip01(-n[2])[..., None]
                                   * color("4aa0ff") * 0.5)
    half = [light[i] - ray[i] for i in range(3)]
    size = np.sqrt(sum(h * h for h in half))
    gloss = np.clip(dot(n, tuple(h / size for h in half)), 0, 1) ** 40
    paint = ship_colors(p)
    rim = (1 - np.clip(-dot(n, ray), 0, 1)) ** 3
    shade = paint * (direct[..., None] * color("fff1dc") * 1.15 + bounce)
    shade += (gloss * direct * 0.6)[..., None] + (rim * 0.35)[..., None] * color("8fa8ff")
    flat = rgb.reshape(-1, 3)
    flat[near[hit]] = shade
    rgb = flat.reshape(rgb.shape)
    return engine_light(rgb, eye, target, focal, turn)


def engine_light(rgb: Array, eye: Array, target: Array, focal: float, turn: float) -> Array:
    """Blue exhaust behind the three engines."""
    forward = unit(target - eye)
    right = unit(np.cross(forward, (0, 1, 0)))
    up = np.cross(right, forward)

    def place(point: Sequence[float]) -> tuple[float, float]:
        d = np.subtract(point, eye)
        depth = d @ forward
        a, b = focal * (d @ right) / depth, focal * (d @ up) / depth
        u, v = a * np.cos(turn) + b * np.sin(turn), -a * np.sin(turn) + b * np.cos(turn)
        return 0.5 + float(u), 0.38 - float(v)

    light = Canvas(np.zeros(3))
    for ex, ez, wide in ((0.6, -1.2, 0.035), (0.0, -1.42, 0.045), (-0.6, -1.2, 0.03)):
        a, b = place((ex, 0, ez)), place((ex, 0, ez - 2.6))
        line = np.linspace(a, b, 40)
        fade = np.linspace(1, 0.05, 40)
        for scale, tint, power in ((2.2, "1e5cff", 0.55), (1.0, "5fc0ff", 0.9), (0.4, "ffffff", 1)):
            part = Canvas(np.zeros(3))
            part.fill(ribbon(line, wide * scale * fade, False), color(tint) * power,
                      soft=0.004 * scale)
            light.rgb += part.rgb
    x, y = grid()
    end = np.hypot(x - 0.55, y - 0.31)
    rgb = rgb + light.rgb * clip01(1.25 - end * 2.6)[..., None]
    return vignette(bloom(rgb, 0.8, 0.55, 10), 0.25)


# --- 03 neon city ----------------------------------------------------------------------------


class Box(NamedTuple):
    """An upright block of the city: two corners, a kind and a seed."""

    low: Color
    high: Color
    kind: int
    seed: int


def city_blocks() -> list[Box]:
    """Houses on both sides, signs that stick out from them and a tower at the end."""
    rng = np.random.default_rng(77)
    boxes: list[Box] = []
    for side in (-1, 1):
        z = 3.0
        while z < 120:
            deep, tall = rng.uniform(7, 12), rng.uniform(16, 44) + z * 0.12
            inner = 6 + rng.uniform(0, 1.2)
            xs = sorted((side * inner, side * 30.0))
            boxes.append(Box((xs[0], 0, z), (xs[1], tall, z + deep - 0.3), 0,
                             int(rng.integers(1 << 20))))
            for _ in range(int(rng.integers(2, 5)) if z < 70 else 1):
                wide, high = rng.uniform(0.9, 1.7), rng.uniform(2.2, 6.5)
                y0, z0 = rng.uniform(3.6, 15), z + rng.uniform(0.5, deep - 1)
                a = side * (inner - 0.15)
                xs = sorted((a, a - side * wide))
                boxes.append(Box((xs[0], y0, z0), (xs[1], y0 + high, z0 + 0.25), 1,
                                 int(rng.integers(1 << 20))))
            if rng.uniform() < 0.7:
                y0, z0 = rng.uniform(4.5, 14), z + deep * 0.15
                xs = sorted((side * (inner - 0.25), side * inner))
                boxes.append(Box((xs[0], y0, z0), (xs[1], y0 + rng.uniform(2, 5), z0 + deep * 0.7),
                                 2, int(rng.integers(1 << 20))))
            z += deep
    boxes.append(Box((-7, 0, 150), (7, 62, 160), 0, 5))
    boxes.append(Box((-4, 62, 151), (4, 84, 159), 0, 9))
    boxes.append(Box((-0.5, 84, 154), (0.5, 112, 155), 3, 1))
    return boxes


def glyphs() -> Array:
    """A strip of sixteen invented characters, 32 pixels each."""
    rng = np.random.default_rng(8)
    strip = Image.new("L", (16 * 64, 64))
    draw = ImageDraw.Draw(strip)
    for i in range(16):
        left = i * 64
        for _ in range(int(rng.integers(2, 4))):
            y = int(rng.choice([12, 22, 32, 42, 52]))
            a, b = rng.choice([10, 16]), rng.choice([48, 54])
            draw.line([(left + a, y), (left + b, y)], fill=255, width=5)
        for _ in range(int(rng.integers(1, 4))):
            x = left + int(rng.choice([14, 32, 50]))
            a, b = rng.choice([8, 20]), rng.choice([44, 56])
            draw.line([(x, a), (x, b)], fill=255, width=5)
        if rng.uniform() < 0.6:
            draw.line([(left + 32, 30), (left + int(rng.choice([10, 54])), 56)], fill=255, width=5)
    return np.asarray(strip.reduce(2), np.float32) / 255


NEON = ("ff2d95", "21e6ff", "ff7a1a", "b14cff", "34ff9e", "ff3b3b", "3d7bff", "ffd23d")


def hit_boxes(boxes: Sequence[Box], o: Vector, d: Vector) -> tuple[Array, Array, Array]:
    """Nearest box along each ray: distance, box number (-1 for none) and axis of its face."""
    count = d[0].size
    if count > 32768:
        parts = []
        for start in range(0, count, 32768):
            at = slice(start, start + 32768)
            near = tuple(v[at] if v.size > 1 else v for v in o)
            parts.append(hit_boxes(boxes, near, tuple(v[at] for v in d)))
        return tuple(np.concatenate(v) for v in zip(*parts, strict=True))
    best = np.full(d[0].shape, 1e9, np.float32)
    which = np.full(d[0].shape, -1, np.int16)
    axis = np.zeros(d[0].shape, np.int8)
    inverse = [1 / np.where(np.abs(v) < 1e-6, 1e-6, v) for v in d]
    for number, box in enumerate(boxes):
        near, far = np.float32(0), np.float32(1e9)
        enters = []
        for i in range(3):
            a, b = (box.low[i] - o[i]) * inverse[i], (box.high[i] - o[i]) * inverse[i]
            enters.append(np.minimum(a, b))
            near, far = np.maximum(near, enters[i]), np.minimum(far, np.maximum(a, b))
        hit = (near < far) & (near > 1e-3) & (near < best)
        best[hit], which[hit] = near[hit], number
        axis[hit] = np.where(enters[0][hit] >= near[hit], 0,
                             np.where(enters[2][hit] >= near[hit], 2, 1))
    return best, which, axis


def house_light(u: Array, v: Array, seed: int, toward_street: bool) -> Array:
    """Light from one facade: windows, shop fronts, neon tubes and dim walls."""
    rng = np.random.default_rng(seed)
    wide, high = rng.uniform(1.0, 1.9), rng.uniform(1.5, 2.2)
    share = rng.uniform(0.34, 0.62)
    cu, cv = u / wide, v / high
    fu, fv = cu - np.floor(cu), cv - np.floor(cv)
    pane = ramp(0.14, 0.18, fu) * ramp(0.86, 0.82, fu) * ramp(0.2, 0.25, fv) * ramp(0.9, 0.85, fv)
    pane *= 1 - 0.7 * (np.abs(fu - 0.5) < 0.03)
    lot = cell_hash(cu, cv, seed % 997)
    tint = cell_hash(cu, cv, seed % 991 + 1)
    on = (lot < share) * (0.35 + 0.65 * cell_hash(cu, cv, seed % 983 + 2))
    glow = gradient(tint, (0, "ffb45c"), (0.45, "ffd9a0"), (0.55, "8fdcff"), (0.8, "c08bff"),
                    (1, "ff5fae"))
    blind = 0.55 + 0.45 * ramp(0.2, 0.9, fv)
    light = glow * (pane * on * blind * 1.2)[..., None]
    light += color("1a2244") * (pane * (lot >= share) * 0.5)[..., None]
    wall = 0.5 + 0.5 * fbm(u * 0.6, v * 0.6, 3, seed % 50)
    edge = 0.35 + 0.65 * ramp(0.0, 0.06, np.minimum(fv, 1 - fv))
    light += color("171a33") * ((1 - pane) * wall * edge)[..., None]
    tone = color(NEON[seed % 8])
    light += tone * (np.exp(-v * 0.16) * (0.5 + 0.5 * wall) * 0.2)[..., None]
    if toward_street:
        shop = (v < 3.6) & (v > 0.5)
        cell = np.floor(u / 3.4)
        pick = cell_hash(cell, cell * 0, seed % 977)
        part = u / 3.4 - cell
        inside = shop * ramp(0.06, 0.09, part) * ramp(0.94, 0.91, part) * (v < 2.8)
        goods = 0.5 + 0.5 * cell_hash(u * 3, v * 2.5, 5)
        light += gradient(pick, (0, "ff9a4a"), (0.4, "ffe0b0"), (0.6, "46d8ff"), (1, "ff4fa3")) * (
            inside * goods * 0.95)[..., None]
        label = shop * (v > 2.95) * ramp(0.08, 0.12, part) * ramp(0.92, 0.88, part)
        names = palette(pick, (0.0, 0.3, 0.65))
        light += names * (label * 1.5)[..., None]
    for level in rng.uniform(6, 40, 2):
        light += color(NEON[(seed // 8) % 8]) * (np.exp(-np.abs(v - level) * 14) * 1.3)[..., None]
    return light


def sign_light(u: Array, v: Array, seed: int, rows: bool, strip: Array) -> Array:
    """A neon sign with a frame and invented characters; u and v run 0..1."""
    ink, back = color(NEON[seed % 8]), color(NEON[(seed // 8) % 8]) * 0.22
    frame = ramp(0.1, 0.05, np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v) * 2))
    count = 3 + seed % 3
    along = (1 - v if rows else u) * count
    part = along - np.floor(along)
    number = (np.floor(along).astype(np.int32) * 5 + seed) % 16
    gx, gy = (u, part) if rows else (part, 1 - v)
    gx, gy = (np.clip((g - 0.5) * 1.15 + 0.5, 0.02, 0.98) for g in (gx, gy))
    word = sample(strip, number * 32 + gx * 31, gy * 31)
    if seed % 3 == 0:
        back, ink = ink * 0.85, color("fff6ff")
    return back + (np.maximum(word, frame))[..., None] * (ink * 1.55 + 0.1)


def city_rays(boxes: Sequence[Box], o: Vector, d: Vector, strip: Array) -> tuple[Array, Array]:
    """Light that arrives along each ray, and the distance it comes from."""
    t, which, axis = hit_boxes(boxes, o, d)
    up = clip01(d[1] * 1.8)
    light = gradient(up, (0.0, "d8458f"), (0.18, "7d2f92"), (0.45, "2a1d5e"), (1.0, "0a0f2c"))
    p = tuple(o[i] + d[i] * np.minimum(t, 400) for i in range(3))
    haze = light.copy()
    for number, box in enumerate(boxes):
        at = which == number
        if not at.any():
            continue
        q, face = [v[at] for v in p], axis[at]
        u = np.where(face == 0, q[2], q[0])
        if box.kind == 0:
            side = np.zeros((q[0].size, 3), np.float32)
            for street in (True, False):
                part = (face == 0) == street
                if part.any():
                    side[part] = house_light(u[part], q[1][part], box.seed, street)
                    if not street:
                        side[part] *= 0.6
            light[at] = side
        elif box.kind == 3:
            light[at] = color("ff4f6a") * 1.6
        else:
            span = [(q[i] - box.low[i]) / (box.high[i] - box.low[i]) for i in range(3)]
            su = span[0] if box.kind == 1 else span[2]
            light[at] = sign_light(su, span[1], box.seed, box.kind == 1, strip)
            if box.kind == 1:
                light[at] *= np.where(face == 2, 1, 0.35)[..., None]
    fog = np.where(which >= 0, 1 - np.exp(-np.maximum(t - 10, 0) * 0.0105), 0)
    return mix(light, haze, fog), t


def walker(rgb: Array) -> Array:
    """A person with an umbrella in the middle of the street, with a reflection."""
    canvas = Canvas(rgb)
    x, foot, s = 0.5, 0.865, 0.27
    ink = "070814"
    top = foot - s
    shapes = [
        curve([(-0.03, 0.3), (0.0, 0.265), (0.03, 0.3), (0.028, 0.345), (0.0, 0.365),
               (-0.028, 0.345)], True),
        curve([(-0.03, 0.37), (0.03, 0.37), (0.095, 0.42), (0.105, 0.56), (0.09, 0.64),
               (0.12, 0.8), (-0.12, 0.8), (-0.09, 0.62), (-0.105, 0.54), (-0.095, 0.42)], True),
        curve([(-0.07, 0.78), (-0.012, 0.78), (-0.025, 0.9), (-0.03, 1.0), (-0.085, 1.0),
               (-0.068, 0.9)], True),
        curve([(0.012, 0.78), (0.07, 0.78), (0.06, 0.9), (0.075, 0.985), (0.025, 0.985),
               (0.022, 0.9)], True),
        curve([(-0.29, 0.26), (-0.22, 0.12), (-0.08, 0.04), (0.02, 0.02), (0.14, 0.05),
               (0.27, 0.14), (0.33, 0.28), (0.25, 0.24), (0.16, 0.27), (0.07, 0.235),
               (-0.03, 0.265), (-0.13, 0.235), (-0.21, 0.265)], True),
    ]
    for shape in shapes:
        flipped = shape * (1, -0.9)
        canvas.fill(flipped * s + (x, foot + s * 0.98), ink, 0.55, 0.004)
    for dx, tint in ((-0.006, "ff2d95"), (0.006, "21e6ff")):
        for shape in shapes:
            canvas.fill(shape * s + (x + dx * 0.4, top - 0.001), tint, 0.75, 0.001)
    for shape in shapes:
        canvas.fill(shape * s + (x, top), ink)
    canvas.line(np.array([(0.02, 0.0), (0.03, 0.5)]) * s + (x, top), 0.003, ink, tip=False)
    for k in (-0.13, -0.03, 0.07, 0.16):
        rib = curve([(0.02, 0.02), (k * 0.75 + 0.01, 0.1), (k, 0.25)])
        canvas.line(rib * s + (x, top), 0.0016, "3a2a5c", 0.8)
    return canvas.rgb


def neon_city() -> Array:
    """A wet city street at night between neon signs."""
    size = CANVAS
    x, y = grid(size)
    boxes, strip = city_blocks(), glyphs()
    eye = (0.0, 2.2, -4.0)
    way = camera(eye, (0.0, 3.6, 8.0), 0.78, (x - 0.5).ravel(), (0.56 - y).ravel())
    o = tuple(np.full(1, e, np.float32) for e in eye)
    light, t = city_rays(boxes, o, way, strip)
    ground = np.where(way[1] < -1e-4, -eye[1] / np.minimum(way[1], -1e-4), 1e9)
    wet = np.flatnonzero(ground < t)
    g = ground[wet].astype(np.float32)
    p = (eye[0] + way[0][wet] * g, np.zeros_like(g), eye[2] + way[2][wet] * g)
    rough = fbm(p[0] * 1.1, p[2] * 0.5, 4, 7)
    puddle = ramp(-0.15, 0.2, rough)
    total = np.zeros((g.size, 3), np.float32)
    for k in range(2):
        nx = 0.03 * noise(p[0] * 9, p[2] * 5, 30 + k) * (1.4 - puddle)
        nz = 0.13 * noise(p[0] * 12, p[2] * 4.0, 40 + k) * (1.5 - 1.2 * puddle)
        d = tuple(v[wet] for v in way)
        d = (d[0] + nx, np.abs(d[1]) * (1 + nz * 2) + 0.004, d[2])
        total += city_rays(boxes, p, d, strip)[0] / 2
    asphalt = color("0b0d1a") * (0.8 + 0.5 * fbm(p[0] * 14, p[2] * 14, 3, 9))[..., None]
    glance = (1 - np.abs(way[1][wet])) ** 2.2
    strength = (0.32 + 0.5 * puddle) * glance * np.where(np.abs(p[0]) > 4.4, 0.6, 1)
    total = asphalt + total * strength[..., None] * 1.05
    stripe = (np.abs(p[0]) < 0.09) & ((p[2] * 0.25) % 1 < 0.5)
    kerb = np.abs(np.abs(p[0]) - 4.4) < 0.08
    total[stripe] += color("6a6470") * 0.35
    total[kerb] += color("585870") * 0.4
    fog = (1 - np.exp(-np.maximum(g - 10, 0) * 0.0105))[..., None]
    light[wet] = total + (color("b1357f") - total) * fog
    rgb = light.reshape(size, size, 3)
    end = np.exp(-np.hypot((x - 0.5) * 1.5, y - 0.6) * 6.5)
    rgb = rgb + (end * 0.42)[..., None] * color("ff5fb0")
    rgb = bloom(rgb, 0.62, 0.42, 7)
    rgb = bloom(rgb, 0.5, 0.12, 34)
    rgb = walker(rgb)
    rgb = clip01(1.03 - np.exp(-rgb * 1.55))
    return vignette(rain(rgb), 0.35)


def rain(rgb: Array) -> Array:
    """Falling streaks of rain, brightest where there is light behind."""
    layer = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(layer)
    rng = np.random.default_rng(19)
    for _ in range(650):
        px, py = rng.uniform(-20, CANVAS), rng.uniform(-60, CANVAS)
        long, level = rng.uniform(18, 60), int(rng.uniform(30, 130))
        draw.line([(px, py), (px - long * 0.08, py + long)], fill=level, width=2)
    streak = blurred(np.asarray(layer, np.float32) / 255, 0.8)
    return rgb + streak[..., None] * (0.1 + 0.5 * blurred(rgb, 12)) * 0.8


# --- 04 cottage, painted in strokes ----------------------------------------------------------


def leafy(draw: ImageDraw.ImageDraw, cx: float, cy: float, rx: float, ry: float, count: int,
          shades: Sequence[str], rng: np.random.Generator, dab: float = 7.0) -> None:
    """A clump of leaves, light at the upper left and dark at the lower right; canvas pixels."""
    table = np.array([color(s) for s in shades])
    rows = []
    for _ in range(count):
        a, d = rng.uniform(0, TAU), np.sqrt(rng.uniform(0, 1))
        px, py = cx + rx * d * np.cos(a), cy + ry * d * np.sin(a)
        rows.append((rng.uniform(0, 1), px, py))
    for _, px, py in sorted(rows):
        lit = 0.5 - 0.42 * ((px - cx) / rx + 1.3 * (py - cy) / ry) + rng.normal(0, 0.17)
        tone = table[int(np.clip(lit, 0, 0.999) * len(table))] * rng.uniform(0.9, 1.1)
        r = dab * rng.uniform(0.6, 1.4)
        ink = tuple(int(255 * min(c, 1)) for c in tone)
        draw.ellipse((px - r, py - r * 0.8, px + r, py + r * 0.8), fill=ink)


def oak(canvas: Canvas, x: float, base: float, tall: float, seed: int,
        shades: Sequence[str]) -> None:
    """A broad tree: trunk, limbs and overlapping clumps of leaves."""
    rng = np.random.default_rng(seed)
    canvas.line(curve([(x, base + 0.01), (x + 0.004, base - tall * 0.3), (x, base - tall * 0.6)]),
                np.linspace(0.09, 0.03, 29) * tall, "4a3423", tip=False)
    for side in (-1, 1):
        canvas.line(curve([(x, base - tall * 0.3), (x + side * tall * 0.12, base - tall * 0.45),
                           (x + side * tall * 0.26, base - tall * 0.6)]),
                    np.linspace(0.04, 0.012, 29) * tall, "4a3423", tip=False)
    image, draw = canvas.pen()
    for px, py, r in ((0, 0.52, 0.3), (-0.26, 0.6, 0.2), (0.27, 0.6, 0.2), (-0.17, 0.78, 0.2),
                      (0.17, 0.8, 0.19), (0.0, 0.68, 0.25), (0.02, 0.93, 0.13)):
        leafy(draw, (x + px * tall) * CANVAS, (base - py * tall) * CANVAS, r * tall * CANVAS,
              r * tall * 0.82 * CANVAS, 260, shades, rng, 0.02 * tall * CANVAS)
    canvas.take(image)


def cottage_house(canvas: Canvas) -> None:
    """A white cottage with a thatched roof, a blue door and a brick chimney."""
    def quad(*points: tuple[float, float]) -> Array:
        return np.array(points, np.float32)

    canvas.fill(ellipse(0.43, 0.705, 0.24, 0.03), "2f4a22", 0.7, 0.012)
    canvas.fill(quad((0.475, 0.33), (0.525, 0.33), (0.525, 0.45), (0.475, 0.45)), "a4553c")
    canvas.fill(quad((0.51, 0.33), (0.525, 0.33), (0.525, 0.45), (0.51, 0.45)), "7a3a2b")
    canvas.fill(quad((0.468, 0.322), (0.532, 0.322), (0.532, 0.338), (0.468, 0.338)), "6e3529")
    side = quad((0.335, 0.53), (0.62, 0.53), (0.62, 0.695), (0.335, 0.71))
    canvas.fill(side, "f3e3c3")
    canvas.fill(quad((0.335, 0.53), (0.62, 0.53), (0.62, 0.56), (0.335, 0.565)), "b39a7f", 0.8,
                0.006)
    gable = quad((0.195, 0.54), (0.262, 0.40), (0.335, 0.54), (0.335, 0.71), (0.195, 0.70))
    canvas.fill(gable, "cdb99c")
    canvas.fill(quad((0.195, 0.66), (0.335, 0.67), (0.335, 0.71), (0.195, 0.70)), "9c8a78", 0.7)
    canvas.fill(quad((0.335, 0.672), (0.62, 0.664), (0.62, 0.695), (0.335, 0.71)), "c8b08c", 0.9)
    roof = quad((0.255, 0.375), (0.575, 0.375), (0.66, 0.55), (0.348, 0.558))
    canvas.fill(roof, "b5652f")
    canvas.fill(quad((0.255, 0.375), (0.575, 0.375), (0.59, 0.405), (0.27, 0.405)), "d98b45", 0.9)
    canvas.fill(quad((0.335, 0.53), (0.65, 0.525), (0.66, 0.55), (0.348, 0.558)), "83431f", 0.9)
    canvas.line(quad((0.345, 0.56), (0.258, 0.378), (0.178, 0.56)), 0.028, "8e4a24", tip=False)
    for wx in (0.385, 0.555):
        canvas.fill(quad((wx - 0.028, 0.585), (wx + 0.028, 0.584), (wx + 0.028, 0.642),
                         (wx - 0.028, 0.644)), "5a3d26")
        canvas.fill(quad((wx - 0.021, 0.591), (wx + 0.021, 0.59), (wx + 0.021, 0.636),
                         (wx - 0.021, 0.638)), "ffd877")
        canvas.line(quad((wx, 0.588), (wx, 0.64)), 0.006, "5a3d26", tip=False)
        canvas.line(quad((wx - 0.022, 0.614), (wx + 0.022, 0.613)), 0.006, "5a3d26", tip=False)
        for k in range(9):
            canvas.disc(wx - 0.028 + 0.007 * k, 0.65 + 0.004 * (k % 2), 0.008,
                        ("e8456b", "ffffff", "f4a02c")[k % 3])
    canvas.fill(quad((0.444, 0.588), (0.498, 0.587), (0.498, 0.70), (0.444, 0.703)), "6b4a2d")
    canvas.fill(quad((0.450, 0.595), (0.492, 0.594), (0.492, 0.70), (0.450, 0.703)), "2f6f9f")
    canvas.fill(quad((0.24, 0.47), (0.29, 0.47), (0.29, 0.525), (0.24, 0.525)), "5a3d26")
    canvas.fill(quad((0.247, 0.477), (0.283, 0.477), (0.283, 0.518), (0.247, 0.518)), "f2c468")
    canvas.fill(quad((0.235, 0.59), (0.295, 0.593), (0.295, 0.65), (0.235, 0.648)), "5a3d26")
    canvas.fill(quad((0.242, 0.597), (0.288, 0.6), (0.288, 0.643), (0.242, 0.641)), "f2c468")
    for k in range(12):
        t = k / 11
        canvas.disc(0.5 + 0.05 * t + 0.02 * np.sin(t * 9), 0.31 - 0.19 * t, 0.012 + 0.03 * t,
                    "f4efe6", 0.4 * (1 - 0.7 * t), 0.01)


def cottage_base() -> Array:
    """The scene before it is painted: sky, hills, meadow, trees and the house."""
    x, y = grid()
    sky = gradient(y / 0.5, (0, "3f86cf"), (0.5, "86bfe8"), (1, "fbe9c4"))
    cloud = fbm(x * 2.2 + 0.4 * fbm(x * 4, y * 6, 3, 3), y * 4.6, 6, 210)
    heap = ramp(0.0, 0.3, cloud + 0.1)
    lit = ramp(-0.15, 0.5, fbm(x * 2.2 - 0.05, y * 4.6 + 0.22, 6, 210) * -0.7 + cloud)
    sky = mix(sky, mix(color("a9b4d3"), color("fff8ea"), lit), heap * ramp(0.5, 0.3, y) * 0.95)
    rgb = sky
    for level, rough, tint, seed in ((0.43, 0.06, "8aa6c2", 1), (0.475, 0.05, "6f9a86", 4),
                                     (0.52, 0.035, "5c8f4d", 8)):
        edge = level + rough * fbm(x[0] * 2.4 + seed, x[0] * 0, 4, 220 + seed)
        tone = color(tint) * (1 + 0.14 * fbm(x * 10, y * 22, 3, 230 + seed))[..., None]
        rgb = mix(rgb, tone, ramp(-0.002, 0.002, y - edge))
    edge = 0.585 + 0.018 * np.sin(x * 5 + 1)
    near = clip01((y - edge) / 0.42)
    meadow = gradient(near, (0, "a9c657"), (0.35, "7fb03c"), (1, "3f7a2a"))
    patch = fbm(x * 5 / (0.4 + near), 5 / (0.25 + near), 4, 240)
    meadow = meadow * (1 + 0.22 * patch)[..., None]
    rgb = mix(rgb, meadow, ramp(-0.002, 0.002, y - edge))
    canvas = Canvas(rgb)
    rng = np.random.default_rng(24)
    image, draw = canvas.pen()
    for _ in range(26):
        px = rng.uniform(0, CANVAS)
        leafy(draw, px, 0.57 * CANVAS, rng.uniform(22, 46), rng.uniform(22, 46), 80,
              ("35602f", "4a7d3a", "6f9f46", "9dbd5b"), rng, 7)
    canvas.take(image)
    greens = ("1f4222", "2f5f2a", "477d30", "6fa03a", "a8c552")
    oak(canvas, 0.1, 0.72, 0.5, 5, greens)
    path = curve([(0.455, 0.7), (0.485, 0.7), (0.53, 0.78), (0.52, 0.87), (0.62, 1.02), (0.3, 1.02),
                  (0.38, 0.88), (0.46, 0.79)], True)
    canvas.fill(path, "dfc08d", 1, 0.004)
    cottage_house(canvas)
    image, draw = canvas.pen()
    for px, py, r in ((0.2, 0.7, 0.035), (0.315, 0.715, 0.03), (0.395, 0.712, 0.026),
                      (0.55, 0.7, 0.028), (0.615, 0.7, 0.04), (0.66, 0.715, 0.03)):
        leafy(draw, px * CANVAS, py * CANVAS, r * CANVAS, r * 0.75 * CANVAS, 110, greens, rng, 6)
        leafy(draw, px * CANVAS, (py - 0.006) * CANVAS, r * 0.9 * CANVAS, r * 0.6 * CANVAS, 14,
              ("c93a5b", "f06a8a", "ffd1dc"), rng, 5)
    canvas.take(image)
    oak(canvas, 0.84, 0.76, 0.62, 9, ("27401d", "3c6426", "628a2e", "9aa838", "e0c14b"))
    image, draw = canvas.pen()
    for _ in range(1500):
        t = rng.uniform() ** 0.6
        px, py = rng.uniform(0, 1), 0.68 + 0.33 * t
        if abs(px - 0.47) < 0.05 + 0.12 * t and py > 0.7:
            continue
        r = (1.5 + 5.5 * t) * rng.uniform(0.6, 1.3)
        ink = rng.choice(["e23b4e", "ffffff", "f7d13d", "8d5fd3", "f28bb2"],
                         p=[0.3, 0.2, 0.26, 0.14, 0.1])
        draw.ellipse([px * CANVAS - r, py * CANVAS - r, px * CANVAS + r, py * CANVAS + r],
                     fill="#" + ink)
    canvas.take(image)
    shade = np.exp(-(((x - 0.8) / 0.2) ** 2) - ((y - 0.775) / 0.022) ** 2)
    return canvas.rgb * (1 - 0.4 * shade)[..., None]


def painted(base: Array, seed: int) -> Array:
    """Repaint a picture with coarse, then ever finer brush strokes and thick paint relief."""
    rng = np.random.default_rng(seed)
    grey = blurred(base.mean(-1), 4)
    gy, gx = np.gradient(grey)
    gxx, gyy, gxy = (blurred(v, 9) for v in (gx * gx, gy * gy, gx * gy))
    x, y = grid()
    flow = 0.5 * np.arctan2(2 * gxy, gxx - gyy) + np.pi / 2
    calm = np.hypot(gxx - gyy, 2 * gxy) < 2e-6
    flow = np.where(calm, 0.9 * fbm(x * 2.2, y * 2.2, 2, 260), flow)
    heading = np.cos(flow), np.sin(flow)
    image, draw = Canvas(blurred(base, 12)).pen()
    relief = Image.new("L", (CANVAS, CANVAS), 128)
    bump = ImageDraw.Draw(relief)
    for radius, spacing, limit in ((15, 15, 0.0), (8, 10, 0.025), (4, 6.5, 0.04), (2.2, 4.5, 0.06)):
        soft = blurred(base, radius * 0.5)
        error = np.abs(from_image(image) - soft).sum(-1)
        spots = np.stack(np.meshgrid(np.arange(0, CANVAS, spacing),
                                     np.arange(0, CANVAS, spacing)), -1).reshape(-1, 2)
        spots = spots + rng.uniform(-spacing / 2, spacing / 2, spots.shape)
        spots = np.clip(spots, 0, CANVAS - 1)
        rng.shuffle(spots)
        cell = spots.astype(int)
        spots = spots[blurred(error, radius * 0.4)[cell[:, 1], cell[:, 0]] >= limit]
        chances = rng.uniform(-1, 1, (len(spots), 13)).tolist()
        for at, chance in zip(spots.tolist(), chances, strict=True):
            brush_stroke(draw, bump, soft, heading, at, radius, chance)
    height = blurred(np.asarray(relief, np.float32) / 255, 0.9)
    dy, dx = np.gradient(height)
    rgb = from_image(image)
    weave = 0.012 * np.sin(x * CANVAS * 0.9) * np.sin(y * CANVAS * 0.9)
    return rgb * (1 + np.clip((dx + dy) * 2.2, -0.28, 0.32) + weave)[..., None]


def brush_stroke(draw: ImageDraw.ImageDraw, bump: ImageDraw.ImageDraw, soft: Array,
                 heading: tuple[Array, Array], at: Sequence[float], radius: float,
                 chance: Sequence[float]) -> None:
    """One stroke of several bristles that follows the flow while the colour stays similar."""
    px, py = at
    tint = soft[int(py), int(px)].tolist()
    line, dx, dy = [(px, py)], 0.0, 0.0
    for _ in range(6):
        ix, iy = min(max(int(px), 0), CANVAS - 1), min(max(int(py), 0), CANVAS - 1)
        if len(line) > 2:
            here = soft[iy, ix].tolist()
            if sum(abs(a - b) for a, b in zip(here, tint, strict=True)) > 0.16:
                break
        c, s = float(heading[0][iy, ix]), float(heading[1][iy, ix])
        if c * dx + s * dy < 0:
            c, s = -c, -s
        dx, dy = c, s
        px, py = px + c * radius * 1.1, py + s * radius * 1.1
        line.append((px, py))
    ax, ay = line[0][1] - line[-1][1], line[-1][0] - line[0][0]
    size = max((ax * ax + ay * ay) ** 0.5, 1e-6)
    level = 128 + 38 * chance[4]
    count = 4 if radius > 5 else 2
    wide = max(round(2 * radius / count) + 1, 2)
    for k in range(count):
        off = (k - (count - 1) / 2) / count * 2 * radius / size
        hair = (1 + 0.07 * chance[3]) * (1 + 0.05 * chance[5 + k])
        ink = tuple(
            int(min(max((t + 0.028 * r) * hair, 0), 1) * 255)
            for t, r in zip(tint, chance[:3], strict=True)
        )
        path = [(a + ax * off, b + ay * off) for a, b in line]
        draw.line(path, fill=ink, width=wide, joint="curve")
        bump.line(path, fill=int(level + 38 * chance[9 + k]), width=wide, joint="curve")


def cottage() -> Array:
    """A cottage in a flowering meadow as an oil painting."""
    return vignette(painted(cottage_base(), 4), 0.15)


# --- 05 portrait -----------------------------------------------------------------------------


INK = "3a1d1a"


def outlined(canvas: Canvas, shape: Array, paint: ArrayLike | str, ink: str = INK,
             wide: float = 0.004) -> None:
    """Fill a closed shape and draw its outline."""
    canvas.fill(shape, paint)
    canvas.line(np.concatenate([shape, shape[:1]]), wide, ink, tip=False)


def rosette(canvas: Canvas, cx: float, cy: float, r: float, petals: int, tint: str, core: str,
            turn: float = 0.0) -> None:
    """A flower seen from above: two rings of petals and a core."""
    base = color(tint)
    for ring, (reach, shade) in enumerate(((1.0, 0.86), (0.66, 1.0), (0.4, 1.1))):
        for k in range(petals - ring):
            a = turn + TAU * (k + 0.5 * ring) / (petals - ring)
            px, py = cx + np.cos(a) * r * reach * 0.55, cy + np.sin(a) * r * reach * 0.55
            petal = ellipse(px, py, r * reach * 0.5, r * reach * 0.4, a, 28)
            outlined(canvas, petal, clip01(base * shade), wide=0.0022)
    outlined(canvas, ellipse(cx, cy, r * 0.17, r * 0.17), core, wide=0.002)


def leaf_shape(x: float, y: float, angle: float, long: float, wide: float) -> Array:
    """A pointed leaf that starts at x, y."""
    line = np.array([(0, 0), (0.3, -wide), (0.7, -wide * 0.7), (1, 0), (0.7, wide * 0.7),
                     (0.3, wide)])
    c, s = np.cos(angle), np.sin(angle)
    p = curve(line * (long, long), True, 8)
    return np.stack([x + p[:, 0] * c - p[:, 1] * s, y + p[:, 0] * s + p[:, 1] * c], -1)


def halo(canvas: Canvas, cx: float, cy: float) -> None:
    """The round ornament behind the head."""
    outlined(canvas, ellipse(cx, cy, 0.37, 0.37, n=160), "8f5a1f", wide=0.006)
    outlined(canvas, ellipse(cx, cy, 0.355, 0.355, n=160), "1f6f74", wide=0.003)
    for k in range(36):
        a = TAU * k / 36
        px, py = cx + 0.323 * np.cos(a), cy + 0.323 * np.sin(a)
        if k % 2:
            outlined(canvas, ellipse(px, py, 0.019, 0.019, n=24), "f3c65a", wide=0.002)
            canvas.disc(px, py, 0.008, "c8402f")
        else:
            for turn in (-0.5, 0, 0.5):
                outlined(canvas, leaf_shape(px - 0.026 * np.cos(a), py - 0.026 * np.sin(a),
                                            a + turn, 0.05, 0.2), "d9efd0", wide=0.0016)
    outlined(canvas, ellipse(cx, cy, 0.288, 0.288, n=160), "c8923a", wide=0.004)
    outlined(canvas, ellipse(cx, cy, 0.275, 0.275, n=160), "f6dc98", wide=0.003)
    x, y = grid(canvas.size)
    far, angle = np.hypot(x - cx, y - cy), np.arctan2(y - cy, x - cx)
    rays = ramp(0.1, 0.35, np.sin(angle * 48)) * ramp(0.27, 0.262, far)
    canvas.rgb = mix(canvas.rgb, color("ecc56f"), rays * 0.75)
    canvas.rgb += (ramp(0.27, 0.0, far) * 0.1)[..., None] * color("fff0c0")


def frame(canvas: Canvas) -> None:
    """The border with stained-glass corners."""
    x, y = grid(canvas.size)
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    for low, high, tint in ((0, 0.034, "1d4f55"), (0.012, 0.02, "f0d48a"), (0.034, 0.05, "c8923a"),
                            (0.05, 0.055, INK), (0.062, 0.065, INK)):
        band = ramp(low - 0.001, low, edge) * ramp(high + 0.001, high, edge)
        canvas.rgb = mix(canvas.rgb, color(tint), band)
    for sx in (0, 1):
        for sy in (0, 1):
            cx, cy = 0.06 + 0.88 * sx, 0.06 + 0.88 * sy
            outlined(canvas, ellipse(cx, cy, 0.055, 0.055), "c8923a", wide=0.004)
            rosette(canvas, cx, cy, 0.05, 8, "d9534a", "f6dc98")
            for turn in (0.25, 0.79, 1.32):
                a = np.arctan2(0.5 - cy, 0.5 - cx)
                a = a - 0.79 + turn
                outlined(canvas, leaf_shape(cx + 0.055 * np.cos(a), cy + 0.055 * np.sin(a), a,
                                            0.075, 0.22), "4f8a5a", wide=0.0025)


def lock(canvas: Canvas, points: Sequence[Sequence[float]], wide: float, tone: float,
         strands: int = 6) -> None:
    """One flowing lock of hair with outlined strands, and its mirror image."""
    line = curve(points, steps=18)
    swell = np.sin(np.linspace(0.25, np.pi - 0.02, len(line))) ** 0.8
    tangent = np.gradient(line, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1])[:, None], 1e-6)
    across = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
    for flip in (False, True):
        outer = ribbon(line, wide * swell, False)
        outer = mirrored(outer) if flip else outer
        outlined(canvas, outer, color("b5521f") * tone, wide=0.0045)
        for k in range(strands):
            off = (k + 0.5) / strands - 0.5
            strand = line + across * (off * wide * swell)[:, None]
            strand = mirrored(strand) if flip else strand
            shine = 0.75 + 0.55 * np.exp(-((off + 0.12) ** 2) * 22)
            canvas.line(strand, wide / strands * 0.9, clip01(color("d4702a") * tone * shine), 0.95)
            if k:
                edge = line + across * ((k / strands - 0.5) * wide * swell)[:, None]
                edge = mirrored(edge) if flip else edge
                canvas.line(edge, 0.0022, "5e2412", 0.8)


def face(canvas: Canvas) -> None:
    """Head, neck and features, symmetric about x = 0.5."""
    half = [(0.5, 0.622), (0.535, 0.612), (0.566, 0.577), (0.592, 0.53), (0.607, 0.47),
            (0.61, 0.4), (0.598, 0.33), (0.56, 0.285)]
    shape = curve(half + [(0.5, 0.27)] + [(1 - a, b) for a, b in half[:0:-1]], True, 10)
    neck = curve([(0.445, 0.54), (0.443, 0.63), (0.43, 0.69), (0.35, 0.735), (0.25, 0.79),
                  (0.22, 0.92), (0.78, 0.92), (0.75, 0.79), (0.65, 0.735), (0.57, 0.69),
                  (0.557, 0.63), (0.555, 0.54)], True)
    outlined(canvas, neck, "f3c3a0")
    canvas.clipped(neck, ellipse(0.5, 0.615, 0.085, 0.06), "b9714f", 0.75, 0.012)
    canvas.clipped(neck, ellipse(0.4, 0.78, 0.1, 0.04, 0.3), "ffdcc0", 0.8, 0.02)
    canvas.clipped(neck, ellipse(0.6, 0.78, 0.1, 0.04, -0.3), "ffdcc0", 0.8, 0.02)
    for side in (-1, 1):
        canvas.line(curve([(0.5 + side * 0.02, 0.765), (0.5 + side * 0.07, 0.755),
                           (0.5 + side * 0.14, 0.742)]), 0.004, "a8603f", 0.7)
        canvas.line(curve([(0.5 + side * 0.042, 0.66), (0.5 + side * 0.028, 0.71),
                           (0.5 + side * 0.012, 0.752)]), 0.003, "a8603f", 0.55)
    outlined(canvas, shape, "fbd8bb", wide=0.0045)
    canvas.clipped(shape, ellipse(0.5, 0.3, 0.13, 0.05), "e0a07a", 0.7, 0.018)
    for side in (-1, 1):
        def at(x: float, s: int = side) -> float:
            return 0.5 + s * x

        canvas.clipped(shape, ellipse(at(0.115), 0.45, 0.025, 0.15), "dd9a76", 0.75, 0.013)
        canvas.clipped(shape, ellipse(at(0.064), 0.508, 0.036, 0.024), "ee8f7c", 0.6, 0.014)
        canvas.fill(ellipse(at(0.051), 0.424, 0.036, 0.016), "d99a86", 0.6, 0.008)
        canvas.fill(ellipse(at(0.02), 0.44, 0.008, 0.03), "dd9c79", 0.5, 0.006)
        eye = curve([(at(0.021), 0.442), (at(0.034), 0.43), (at(0.052), 0.4235),
                     (at(0.07), 0.43), (at(0.084), 0.438), (at(0.068), 0.449), (at(0.05), 0.453),
                     (at(0.034), 0.45)], True, 8)
        canvas.fill(eye, "fffaf0")
        canvas.clipped(eye, ellipse(at(0.052), 0.4375, 0.0148, 0.0148), "1e4a3f", 1)
        canvas.clipped(eye, ellipse(at(0.052), 0.4385, 0.0118, 0.0118), "4fa06f", 1)
        canvas.clipped(eye, ellipse(at(0.052), 0.442, 0.008, 0.006), "a6d89a", 0.8, 0.002)
        canvas.clipped(eye, ellipse(at(0.052), 0.4375, 0.0064, 0.0064), "0d0a0a", 1)
        canvas.clipped(eye, ellipse(at(0.052), 0.4255, 0.035, 0.007), "5a3328", 0.55, 0.002)
        canvas.disc(at(0.052) - 0.0045, 0.4325, 0.0032, "ffffff")
        lid = curve([(at(0.018), 0.4445), (at(0.034), 0.4285), (at(0.053), 0.4215),
                     (at(0.072), 0.4275), (at(0.092), 0.4315)])
        canvas.line(lid, 0.0075, "2a1210")
        canvas.line(curve([(at(0.03), 0.4515), (at(0.05), 0.4555), (at(0.072), 0.4495)]), 0.0026,
                    "7a4030", 0.8)
        canvas.line(curve([(at(0.028), 0.421), (at(0.052), 0.4105), (at(0.08), 0.419)]), 0.0028,
                    "8a4a38", 0.8)
        for k in range(5):
            a, b = 0.068 + 0.005 * k, 0.4265 + 0.001 * k
            lash = curve([(at(a), b), (at(a + 0.005), b - 0.004), (at(a + 0.0115), b - 0.0075)])
            canvas.line(lash, 0.003, "2a1210")
        canvas.line(curve([(at(0.016), 0.398), (at(0.042), 0.3835), (at(0.07), 0.384),
                           (at(0.096), 0.398)]), 0.0115, "6e3018")
        canvas.line(curve([(at(0.019), 0.392), (at(0.015), 0.44), (at(0.014), 0.48)]), 0.003,
                    "b87a5a", 0.45)
        canvas.line(curve([(at(0.0075), 0.5165), (at(0.0155), 0.5115), (at(0.0215), 0.513),
                           (at(0.0235), 0.504), (at(0.02), 0.497)]), 0.0034, "94503a", 0.9)
    canvas.fill(ellipse(0.5, 0.46, 0.006, 0.045), "fff0dc", 0.8, 0.006)
    canvas.fill(ellipse(0.5, 0.523, 0.02, 0.006), "cf8d6a", 0.6, 0.005)
    canvas.fill(ellipse(0.5, 0.5, 0.009, 0.007), "fff0dc", 0.7, 0.004)
    upper = curve([(0.457, 0.5545), (0.476, 0.549), (0.491, 0.5435), (0.5, 0.547), (0.509, 0.5435),
                   (0.524, 0.549), (0.543, 0.5545), (0.52, 0.5585), (0.5, 0.5605), (0.48, 0.5585)],
                  True, 8)
    lower = curve([(0.457, 0.5545), (0.48, 0.5575), (0.5, 0.5595), (0.52, 0.5575), (0.543, 0.5545),
                   (0.524, 0.5715), (0.5, 0.577), (0.476, 0.5715)], True, 8)
    canvas.fill(ellipse(0.5, 0.588, 0.022, 0.007), "d9916f", 0.7, 0.005)
    canvas.fill(lower, "d2483f")
    canvas.fill(upper, "b3302f")
    canvas.fill(ellipse(0.5, 0.567, 0.016, 0.0035), "f6a090", 0.85, 0.003)
    canvas.line(curve([(0.453, 0.5525), (0.478, 0.5585), (0.5, 0.5607), (0.522, 0.5585),
                       (0.547, 0.5525)]), 0.0038, "5e1414")


def portrait() -> Array:
    """A woman with auburn hair, flowers and a halo, in the manner of a 1900 poster."""
    x, y = grid()
    base = gradient(y, (0, "f4e6c4"), (1, "e3c594"))
    tile = np.hypot((x * 12) % 1 - 0.5, (y * 12) % 1 - 0.5)
    base = mix(base, color("d8b57c"), ramp(0.3, 0.26, tile) * ramp(0.18, 0.22, tile) * 0.6)
    canvas = Canvas(base)
    halo(canvas, 0.5, 0.42)
    for points, wide, tone in (
        (((0.47, 0.27), (0.3, 0.3), (0.22, 0.47), (0.12, 0.6), (0.1, 0.75), (0.2, 0.8),
          (0.24, 0.73), (0.19, 0.7)), 0.085, 0.72),
        (((0.45, 0.28), (0.33, 0.38), (0.3, 0.56), (0.2, 0.7), (0.14, 0.86), (0.2, 0.95),
          (0.27, 0.91)), 0.095, 0.8),
        (((0.42, 0.3), (0.35, 0.45), (0.37, 0.6), (0.3, 0.75), (0.26, 0.9), (0.3, 1.02)), 0.12,
         0.68),
    ):
        lock(canvas, points, wide, tone, 7)
    outlined(canvas, curve([(0.36, 0.36), (0.4, 0.24), (0.5, 0.2), (0.6, 0.24), (0.64, 0.36),
                            (0.65, 0.6), (0.6, 0.68), (0.4, 0.68), (0.35, 0.6)], True), "7a3214")
    face(canvas)
    dress = curve([(0.2, 0.83), (0.3, 0.79), (0.4, 0.86), (0.5, 0.9), (0.6, 0.86), (0.7, 0.79),
                   (0.8, 0.83), (0.87, 0.95), (0.9, 1.1), (0.1, 1.1), (0.13, 0.95)], True)
    fold = 0.85 + 0.18 * np.sin((x - 0.5) * 46 * (1.3 - y) + 4 * np.abs(x - 0.5))
    outlined(canvas, dress, color("1f7a7d") * fold[..., None], wide=0.005)
    hem = curve([(0.2, 0.83), (0.3, 0.79), (0.4, 0.86), (0.5, 0.9), (0.6, 0.86), (0.7, 0.79),
                 (0.8, 0.83)])
    canvas.line(hem, 0.03, INK, tip=False)
    canvas.line(hem, 0.024, "e0ac45", tip=False)
    for p in hem[4:-4:5]:
        canvas.disc(float(p[0]), float(p[1]), 0.0065, "b8352c")
    for points, wide, tone in (
        (((0.505, 0.262), (0.42, 0.275), (0.377, 0.37), (0.368, 0.48), (0.385, 0.58), (0.34, 0.68),
          (0.33, 0.8), (0.39, 0.88), (0.43, 0.83), (0.4, 0.8)), 0.075, 1.0),
        (((0.5, 0.245), (0.41, 0.25), (0.35, 0.33), (0.335, 0.46), (0.33, 0.58), (0.26, 0.68),
          (0.21, 0.78), (0.24, 0.87), (0.29, 0.85)), 0.085, 0.9),
        (((0.5, 0.215), (0.4, 0.215), (0.33, 0.29), (0.295, 0.42), (0.25, 0.52), (0.16, 0.55),
          (0.14, 0.63), (0.18, 0.67), (0.205, 0.63)), 0.07, 1.05),
    ):
        lock(canvas, points, wide, tone, 6)
    for angle in np.linspace(-2.75, -0.39, 9):
        px, py = 0.5 + 0.165 * np.cos(angle), 0.345 + 0.15 * np.sin(angle)
        for turn in (-0.6, 0.0, 0.6):
            outlined(canvas, leaf_shape(px, py, angle + turn, 0.075, 0.22),
                     ("4f8a4a", "6fa552", "3f7550")[int(turn * 2 + 1) % 3], wide=0.0025)
    for k, angle in enumerate(np.linspace(-2.7, -0.44, 7)):
        px, py = 0.5 + 0.165 * np.cos(angle), 0.345 + 0.15 * np.sin(angle)
        big = 0.05 if k % 2 == 0 else 0.036
        rosette(canvas, px, py, big, 7, ("e2574c", "fbe9d0", "f0a23c", "fbe9d0")[k % 4], "f6d04d",
                angle)
    for side in (-1, 1):
        px = 0.5 + side * 0.098
        outlined(canvas, ellipse(px, 0.602, 0.008, 0.008), "f0c24d", wide=0.002)
        outlined(canvas, curve([(px, 0.612), (px + 0.011, 0.634), (px, 0.648), (px - 0.011, 0.634)],
                               True), "2f9a94", wide=0.002)
    for k in range(23):
        a = np.pi * (k + 0.5) / 23
        px, py = 0.5 + 0.078 * np.cos(a), 0.685 + 0.075 * np.sin(a)
        outlined(canvas, ellipse(px, py, 0.0052, 0.0052, n=16), "fff4dc", wide=0.0014)
    outlined(canvas, ellipse(0.5, 0.785, 0.02, 0.026), "e0ac45", wide=0.003)
    outlined(canvas, ellipse(0.5, 0.785, 0.012, 0.017), "b8352c", wide=0.002)
    frame(canvas)
    paper = 1 + 0.035 * fbm(x * 60, y * 60, 3, 501) + 0.03 * fbm(x * 4, y * 4, 3, 505)
    return canvas.rgb * paper[..., None]


# --- 06 dog ----------------------------------------------------------------------------------


def bokeh(seed: int) -> Array:
    """A meadow far out of focus, with discs of light."""
    x, y = grid()
    rgb = gradient(y, (0, "8fb56a"), (0.45, "5f8f45"), (0.62, "7fae4a"), (1, "355e27"))
    rgb = rgb * (1 + 0.3 * fbm(x * 3, y * 3, 3, 601))[..., None]
    canvas = Canvas(blurred(rgb, 14))
    rng = np.random.default_rng(seed)
    for _ in range(60):
        px, py, r = rng.uniform(0, 1), rng.uniform(0, 0.62), rng.uniform(0.014, 0.05)
        tint = mix(color("fff0a8"), color("bfe07a"), np.float32(rng.uniform()))
        canvas.disc(px, py, r, tint, rng.uniform(0.08, 0.34), 0.002)
    canvas.glow(0.12, 0.06, 0.7, color("ffe9a8") * 0.55)
    return canvas.rgb


def hairs(image: Image.Image, base: Array, cover: Array, count: int, long: float, wide: float,
          flow: Callable[[Array, Array], Array], order: Callable[[Array, Array], Array],
          seed: int) -> None:
    """Draw tapered hairs over the covered area; they take their colour from the base."""
    rng = np.random.default_rng(seed)
    draw = ImageDraw.Draw(image)
    spots = np.argwhere(cover > 0.5)
    spots = spots[rng.integers(0, len(spots), count)]
    px = ((spots[:, 1] + rng.uniform(0, 1, count)) / CANVAS).astype(np.float32)
    py = ((spots[:, 0] + rng.uniform(0, 1, count)) / CANVAS).astype(np.float32)
    rank = np.argsort(order(px, py))
    px, py, spots = px[rank], py[rank], spots[rank]
    clump = noise(px * 26, py * 26, seed)
    angle = flow(px, py) + 0.35 * clump + rng.normal(0, 0.14, count)
    bend = 0.4 * noise(px * 11, py * 11, seed + 1) + rng.normal(0, 0.1, count)
    size = long * rng.uniform(0.6, 1.3, count)
    tint = base[spots[:, 0], spots[:, 1]]
    tint = tint * (1 + 0.16 * clump + rng.normal(0, 0.085, count))[:, None]
    ink = np.clip(tint * 255, 0, 255).astype(int)
    half = wide * rng.uniform(0.6, 1.3, count) / 2
    x0, y0 = px * CANVAS, py * CANVAS
    x1, y1 = x0 + np.cos(angle) * size / 2, y0 + np.sin(angle) * size / 2
    x2, y2 = x1 + np.cos(angle + bend) * size / 2, y1 + np.sin(angle + bend) * size / 2
    nx, ny = -np.sin(angle) * half, np.cos(angle) * half
    shapes = np.stack([x0 - nx * 0.7, y0 - ny * 0.7, x1 - nx, y1 - ny, x2, y2, x1 + nx, y1 + ny,
                       x0 + nx * 0.7, y0 + ny * 0.7], -1).tolist()
    for shape, fill in zip(shapes, ink.tolist(), strict=True):
        draw.polygon(shape, fill=tuple(fill))


def area(*shapes: Array) -> Array:
    """Where any of the shapes covers the canvas."""
    canvas = Canvas(np.zeros(3))
    for shape in shapes:
        canvas.fill(shape, "ffffff")
    return canvas.rgb[..., 0]


def dog_eye(canvas: Canvas, cx: float, cy: float, side: int) -> None:
    """A round brown eye with dark lids."""
    shape = curve([(cx - side * 0.036, cy + 0.01), (cx - side * 0.018, cy - 0.022),
                   (cx + side * 0.008, cy - 0.028), (cx + side * 0.032, cy - 0.008),
                   (cx + side * 0.034, cy + 0.008), (cx + side * 0.012, cy + 0.026),
                   (cx - side * 0.014, cy + 0.024)], True)
    canvas.fill((shape - (cx, cy)) * 1.25 + (cx, cy), "24130b", 0.9, 0.004)
    canvas.fill(shape, "120a07")
    canvas.clipped(shape, ellipse(cx, cy, 0.0265, 0.0265), "4a2410", 1, 0.001)
    canvas.clipped(shape, ellipse(cx, cy + 0.009, 0.02, 0.014), "9a5a24", 0.9, 0.005)
    canvas.clipped(shape, ellipse(cx, cy, 0.0135, 0.0135), "050303", 1, 0.0015)
    canvas.clipped(shape, ellipse(cx, cy - 0.024, 0.034, 0.012), "080403", 0.75, 0.004)
    canvas.disc(cx - 0.009, cy - 0.009, 0.0075, "ffffff", 0.97, 0.0008)
    canvas.disc(cx + 0.01, cy + 0.012, 0.0035, "ffe9cc", 0.7, 0.001)


def dog_face_base(canvas: Canvas, head: Array) -> None:
    """The soft colour areas of the head under the fur."""
    canvas.fill(head, "d9964a", 1, 0.004)
    for points, tint, alpha, soft in (
        (ellipse(0.5, 0.2, 0.2, 0.06), "efb768", 0.8, 0.02),
        (ellipse(0.36, 0.33, 0.07, 0.14), "efb96c", 0.75, 0.025),
        (ellipse(0.67, 0.38, 0.06, 0.18), "a5602a", 0.75, 0.025),
        (ellipse(0.315, 0.44, 0.04, 0.12), "b06c30", 0.6, 0.02),
        (ellipse(0.5, 0.36, 0.032, 0.13), "f2c98a", 0.8, 0.016),
        (ellipse(0.42, 0.335, 0.042, 0.018, -0.2), "f4cd90", 0.9, 0.01),
        (ellipse(0.58, 0.335, 0.042, 0.018, 0.2), "e6b878", 0.9, 0.01),
        (ellipse(0.415, 0.405, 0.052, 0.042), "8f4f20", 0.75, 0.014),
        (ellipse(0.585, 0.405, 0.052, 0.042), "834619", 0.8, 0.014),
        (ellipse(0.37, 0.52, 0.07, 0.06), "edbd78", 0.8, 0.025),
        (ellipse(0.63, 0.52, 0.07, 0.06), "cf9450", 0.8, 0.025),
    ):
        canvas.fill(points, tint, alpha, soft)


def dog() -> Array:
    """A golden retriever puppy that looks at the viewer."""
    canvas = Canvas(bokeh(61))
    chest = curve([(0.33, 0.58), (0.24, 0.72), (0.16, 0.9), (0.13, 1.06), (0.87, 1.06), (0.84, 0.9),
                   (0.76, 0.72), (0.67, 0.58)], True)
    head = curve([(0.5, 0.155), (0.62, 0.175), (0.7, 0.26), (0.72, 0.38), (0.71, 0.49),
                  (0.66, 0.59), (0.58, 0.665), (0.5, 0.685), (0.42, 0.665), (0.34, 0.59),
                  (0.29, 0.49), (0.28, 0.38), (0.3, 0.26), (0.38, 0.175)], True)
    ear = curve([(0.375, 0.19), (0.29, 0.19), (0.215, 0.27), (0.175, 0.4), (0.18, 0.53),
                 (0.225, 0.6), (0.275, 0.575), (0.305, 0.48), (0.325, 0.37), (0.365, 0.27)], True)
    muzzle = curve([(0.5, 0.44), (0.56, 0.455), (0.6, 0.51), (0.605, 0.565), (0.57, 0.6),
                    (0.52, 0.598), (0.5, 0.585), (0.48, 0.598), (0.43, 0.6), (0.395, 0.565),
                    (0.4, 0.51), (0.44, 0.455)], True)
    canvas.fill(chest, "cf8f48", 1, 0.004)
    canvas.fill(ellipse(0.47, 0.92, 0.17, 0.22), "f4d6a0", 0.9, 0.05)
    canvas.fill(ellipse(0.79, 0.95, 0.1, 0.3), "9a5a28", 0.8, 0.05)
    canvas.fill(ellipse(0.52, 0.69, 0.2, 0.06), "7d4519", 0.85, 0.03)

    def down(x: Array, y: Array) -> Array:
        return np.pi / 2 - (x - 0.5) * 1.5

    def upward(x: Array, y: Array) -> Array:
        return -y

    def outward(x: Array, y: Array) -> Array:
        fan = np.arctan2(y - 0.47, x - 0.5)
        return np.where(y > 0.5, np.arctan2(y - 0.4, (x - 0.5) * 1.5), fan)

    def from_nose(x: Array, y: Array) -> Array:
        return -np.hypot(x - 0.5, y - 0.49)

    base = canvas.rgb.copy()
    image, _ = canvas.pen()
    hairs(image, base, area(chest), 9000, 62, 7, down, upward, 62)
    canvas.take(image)
    dog_collar(canvas)
    canvas.fill(head, "5a3012", 0.5, 0.02)
    dog_face_base(canvas, head)
    base = canvas.rgb.copy()
    image, _ = canvas.pen()
    hairs(image, base, area(head), 15000, 27, 4, outward, from_nose, 63)
    canvas.take(image)
    for flip, tones in ((False, ("c07a35", "8e5020", "dda257")),
                        (True, ("a5622a", "6f3b16", "c0813e"))):
        shape = mirrored(ear) if flip else ear
        side = -1 if flip else 1
        canvas.fill(np.add(shape, (0.012 * side, 0.02)), "3a1e0a", 0.55, 0.016)
        canvas.fill(shape, tones[0], 1, 0.003)
        canvas.fill(ellipse(0.5 - side * 0.225, 0.47, 0.03, 0.11), tones[1], 0.85, 0.02)
        canvas.fill(ellipse(0.5 - side * 0.22, 0.26, 0.05, 0.05), tones[2], 0.85, 0.02)
        canvas.fill(ellipse(0.5 - side * 0.3, 0.42, 0.025, 0.12, 0.1 * side), tones[2], 0.7, 0.015)
        base = canvas.rgb.copy()
        image, _ = canvas.pen()
        hairs(image, base, area(shape), 4200, 40, 5,
              lambda x, y, s=side: np.pi / 2 + s * (0.75 - 1.7 * ramp(0.2, 0.6, y) * 0.62),
              upward, 64 + flip)
        canvas.take(image)
    dog_mouth(canvas)
    canvas.fill(np.add(muzzle, (0, 0.012)), "6b3a17", 0.6, 0.016)
    canvas.fill(muzzle, "f0d2a0", 1, 0.004)
    canvas.fill(ellipse(0.44, 0.53, 0.03, 0.045), "fff0d2", 0.85, 0.014)
    canvas.fill(ellipse(0.555, 0.53, 0.03, 0.045), "ecca95", 0.85, 0.014)
    canvas.fill(ellipse(0.5, 0.535, 0.012, 0.05), "a5713f", 0.8, 0.009)
    canvas.fill(ellipse(0.5, 0.455, 0.03, 0.02), "e3b878", 0.9, 0.01)
    base = canvas.rgb.copy()
    image, _ = canvas.pen()
    hairs(image, base, area(muzzle), 4600, 19, 3, outward, from_nose, 66)
    canvas.take(image)
    dog_eye(canvas, 0.415, 0.405, -1)
    dog_eye(canvas, 0.585, 0.405, 1)
    dog_nose(canvas)
    x, y = grid()
    rim = np.exp(-np.hypot(x - 0.1, y - 0.05) * 2.4) * 0.28
    rgb = canvas.rgb * (1.04 + rim[..., None] * color("ffe9b8"))
    return vignette(bloom(rgb, 0.85, 0.25, 14), 0.35)


def dog_collar(canvas: Canvas) -> None:
    """A red collar with a brass tag."""
    band = curve([(0.335, 0.575), (0.385, 0.68), (0.5, 0.74), (0.615, 0.68), (0.665, 0.575)])
    canvas.line(np.add(band, (0, 0.012)), 0.046, "2a1208", 0.5, False, 0.008)
    canvas.line(band, 0.042, "b01f24", tip=False)
    canvas.line(band - (0, 0.011), 0.009, "e0565a", 0.8, tip=False)
    canvas.line(np.add(band, (0, 0.014)), 0.008, "6e0f16", 0.8, tip=False)
    canvas.disc(0.5, 0.798, 0.036, "3a1e0a", 0.5, 0.008)
    canvas.disc(0.5, 0.79, 0.034, "a9781f")
    canvas.disc(0.498, 0.788, 0.029, "e8bd4d")
    canvas.fill(ellipse(0.488, 0.776, 0.012, 0.008, -0.5), "fff3c0", 0.9, 0.004)


def dog_mouth(canvas: Canvas) -> None:
    """An open, panting mouth with the tongue out."""
    canvas.fill(ellipse(0.5, 0.625, 0.072, 0.052), "e3bd84", 1, 0.006)
    mouth = curve([(0.425, 0.585), (0.5, 0.575), (0.575, 0.585), (0.558, 0.635), (0.5, 0.66),
                   (0.442, 0.635)], True)
    canvas.fill(mouth, "2a0d0c", 1, 0.002)
    tongue = curve([(0.458, 0.6), (0.5, 0.592), (0.542, 0.6), (0.545, 0.655), (0.53, 0.7),
                    (0.5, 0.715), (0.47, 0.7), (0.455, 0.655)], True)
    canvas.fill(np.add(tongue, (0.004, 0.008)), "4a1410", 0.5, 0.006)
    canvas.fill(tongue, "e2727a", 1, 0.001)
    canvas.clipped(tongue, ellipse(0.5, 0.6, 0.05, 0.022), "9a3a44", 0.8, 0.01)
    canvas.clipped(tongue, ellipse(0.482, 0.665, 0.012, 0.035), "f8a8aa", 0.8, 0.007)
    canvas.line(curve([(0.5, 0.61), (0.502, 0.65), (0.5, 0.69)]), 0.006, "b04a54", 0.75, soft=0.001)


def dog_nose(canvas: Canvas) -> None:
    """A moist black nose, the line below it and whisker spots."""
    nose = curve([(0.5, 0.458), (0.533, 0.462), (0.552, 0.482), (0.54, 0.508), (0.515, 0.524),
                  (0.5, 0.53), (0.485, 0.524), (0.46, 0.508), (0.448, 0.482), (0.467, 0.462)], True)
    canvas.fill((nose - (0.5, 0.49)) * 1.1 + (0.5, 0.495), "4a2a18", 0.6, 0.006)
    canvas.fill(nose, "16110f", 1, 0.001)
    canvas.clipped(nose, ellipse(0.5, 0.47, 0.036, 0.01), "6d6462", 0.85, 0.005)
    canvas.clipped(nose, ellipse(0.485, 0.469, 0.013, 0.005), "e8e4e4", 0.8, 0.003)
    for side in (-1, 1):
        canvas.fill(ellipse(0.5 + side * 0.024, 0.499, 0.011, 0.0075, side * 0.5), "000000", 1,
                    0.002)
        canvas.clipped(nose, ellipse(0.5 + side * 0.043, 0.5, 0.005, 0.012), "4f4644", 0.8, 0.003)
        canvas.line(curve([(0.5, 0.565), (0.5 + side * 0.03, 0.592), (0.5 + side * 0.07, 0.592),
                           (0.5 + side * 0.096, 0.572)]), 0.007, "3a1c0e", 0.85, soft=0.001)
        for k in range(7):
            px, py = 0.5 + side * (0.045 + 0.014 * (k % 3)), 0.545 + 0.012 * (k // 3)
            canvas.disc(px, py, 0.0026, "6b4020", 0.8)
            end = (px + side * (0.09 + 0.02 * (k % 3)), py - 0.015 + 0.014 * (k // 3))
            if k % 2 == 0:
                canvas.line(curve([(px, py), ((px + end[0]) / 2, py - 0.014), end]), 0.0018,
                            "fff6e0", 0.7)
    canvas.line(np.array([(0.5, 0.525), (0.5, 0.57)]), 0.006, "2a140a", 0.9, False, 0.001)


# --- 07 still life ---------------------------------------------------------------------------


def ball(p: Vector, c: Sequence[float], r: float) -> Array:
    """Distance to a sphere."""
    return np.sqrt((p[0] - c[0]) ** 2 + (p[1] - c[1]) ** 2 + (p[2] - c[2]) ** 2) - r


def smooth_min(a: Array, b: Array, k: float) -> Array:
    """Union of two distances with a soft joint."""
    h = np.clip(0.5 + 0.5 * (b - a) / k, 0, 1)
    return b + (a - b) * h - k * h * (1 - h)


def tilted(p: Vector, c: Sequence[float], lean: Sequence[float]) -> Vector:
    """Coordinates of a fruit at c whose stem points along lean."""
    up = unit(lean)
    side = unit(np.cross(up, (0.3, 0.1, 1.0)))
    other = np.cross(side, up)
    q = tuple(p[i] - c[i] for i in range(3))
    return dot(q, side), dot(q, up), dot(q, other)


def apple(p: Vector, c: Sequence[float], r: float, lean: Sequence[float]) -> tuple[Array, Array]:
    """Distances to an apple and to its stem."""
    q = tilted(p, c, lean)
    flat = np.hypot(q[0], q[2]) * (1 + 0.09 * q[1] / r * -1)
    body = np.hypot(flat - 0.36 * r, q[1] * 0.97) - 0.68 * r
    stem = capsule(q, (0, 0.3 * r, 0), (0.12 * r, 0.98 * r, 0.05 * r), 0.035 * r + 0.006)
    return body * 0.9, stem


def pear(p: Vector, c: Sequence[float], r: float, lean: Sequence[float]) -> tuple[Array, Array]:
    """Distances to a pear and to its stem."""
    q = tilted(p, c, lean)
    body = smooth_min(ball(q, (0, 0, 0), r), ball(q, (0.04 * r, 1.25 * r, 0), 0.5 * r), 0.75 * r)
    return body * 0.9, capsule(q, (0.04 * r, 1.6 * r, 0), (0.16 * r, 2.15 * r, 0), 0.05 * r)


def banana(p: Vector, c: Sequence[float], turn: float, lift: float) -> Array:
    """Distance to a bent fruit that lies in an upright plane."""
    ct, st = np.cos(turn), np.sin(turn)
    q = (p[0] - c[0], p[1] - c[1], p[2] - c[2])
    u, w = q[0] * ct + q[2] * st, -q[0] * st + q[2] * ct
    cl, sl = np.cos(lift), np.sin(lift)
    w, v = w * cl - q[1] * sl, w * sl + q[1] * cl
    angle = np.clip(np.arctan2(v, u), -2.55, -0.6)
    thick = 0.115 * np.clip(1 - np.abs((angle + 1.575) / 1.06) ** 4, 0.16, 1)
    bend = 0.62
    away = np.sqrt((u - bend * np.cos(angle)) ** 2 + (v - bend * np.sin(angle)) ** 2 + w**2)
    return (away - thick) * 0.75


GRAPES = tuple(
    (0.98 + 0.2 * np.cos(2.4 * i) * (1 - i / 26), 0.1 + 0.105 * (i % 3 == 2) + 0.115 * (i > 14),
     0.52 + 0.25 * np.sin(2.4 * i) * (1 - i / 26))
    for i in range(19)
)


def fruit_parts(x: Array, y: Array, z: Array) -> list[Array]:
    """Distances to each material of the still life; the table top is y = 0."""
    p = (x, y, z)
    shell = np.abs(ball(p, (0, 0.86, 0), 0.9)) - 0.022
    shell = np.maximum(shell, y - 0.5)
    flat = np.hypot(x, z)
    rim = np.hypot(flat - 0.825, y - 0.5) - 0.035
    foot = np.maximum(np.abs(flat - 0.36) - 0.03, np.abs(y - 0.04) - 0.05)
    bowl = smooth_min(np.minimum(shell, rim), foot, 0.04)
    red_a, stem_a = apple(p, (-0.36, 0.66, 0.3), 0.37, (-0.25, 1, 0.35))
    red_b, stem_b = apple(p, (-0.95, 0.31, 0.72), 0.33, (0.3, 1.0, 0.3))
    green, stem_c = apple(p, (0.12, 0.72, -0.32), 0.36, (0.1, 1, 0.1))
    gold, stem_d = pear(p, (0.47, 0.66, -0.12), 0.29, (0.38, 1, -0.1))
    orange = np.minimum(ball(p, (0.26, 0.68, 0.36), 0.32), ball(p, (-0.42, 0.72, -0.32), 0.33))
    yellow = np.minimum(banana(p, (-0.3, 1.56, -0.25), 0.2, 0.25),
                        banana(p, (-0.27, 1.52, -0.45), 0.05, 0.1))
    grape = np.minimum.reduce([ball(p, c, 0.105) for c in GRAPES])
    twig = capsule(p, (1.0, 0.3, 0.5), (0.85, 0.42, 0.3), 0.014)
    stems = np.minimum.reduce([stem_a, stem_b, stem_c, stem_d, twig])
    return [y, bowl, np.minimum(red_a, red_b), green, gold, orange, yellow, grape, stems]


def fruit_solid(x: Array, y: Array, z: Array) -> Array:
    """Distance to the whole still life, with the table."""
    return np.minimum.reduce(fruit_parts(x, y, z)) * 0.95


def fruit_only(x: Array, y: Array, z: Array) -> Array:
    """Distance to the bowl and the fruit."""
    return np.minimum.reduce(fruit_parts(x, y, z)[1:]) * 0.95


def fruit_colors(p: Vector, kind: Array) -> tuple[Array, Array]:
    """Colour and gloss of each point."""
    x, y, z = p
    blotch = fbm3(x * 5, y * 5, z * 5, 4, 3)
    fine = fbm3(x * 22, y * 22, z * 22, 3, 5)
    streak = fbm3(x * 14, y * 2.5, z * 14, 3, 7)
    plank = fbm(x * 1.2, z * 14 + 0.6 * fbm(x, z, 2, 5), 5, 11)
    board = 0.55 + 0.45 * ramp(0.0, 0.03, np.abs((z * 1.1 + 0.25) % 1 - 0.5))
    wood = gradient(plank, (-0.6, "2b170c"), (0.0, "422413"), (0.6, "5c3519")) * board[..., None]
    angle = np.arctan2(z, x)
    flower = ramp(0.1, 0.25, np.sin(angle * 14 + 2.2 * np.sin(y * 22)) * np.sin(y * 26 + 0.6)
                  + 0.3 * blotch)
    band = ramp(0.03, 0.015, np.abs(y - 0.44)) + ramp(0.02, 0.01, np.abs(y - 0.12))
    china = mix(color("ece6d6"), color("1f3c8c"), clip01(flower * (y < 0.41) * (y > 0.14) + band))
    red = mix(color("b3121a"), color("e0a030"), ramp(0.35, 1.3, streak * 0.6 + blotch * 0.5 + 0.1))
    red = mix(red, color("5e0710"), ramp(0.0, -0.7, blotch) * 0.6)
    green = mix(color("7f9f22"), color("c2b43a"), ramp(-0.3, 0.7, streak + blotch))
    gold = mix(color("cfa12f"), color("96802a"), ramp(-0.2, 0.7, blotch + 0.4 * fine))
    gold = mix(gold, color("b5552a"), ramp(0.1, 0.8, blotch - 0.2) * 0.6)
    orange = mix(color("e0640a"), color("ea7d14"), 0.5 + 0.5 * blotch)
    yellow = mix(color("e8b520"), color("8a5a1c"), ramp(0.35, 0.8, blotch * 0.6 + fine * 0.5))
    grape = mix(color("3d0f3f"), color("6f2450"), 0.5 + 0.5 * blotch)
    stem = np.broadcast_to(color("3a2413"), wood.shape)
    table = (wood, china, red, green, gold, orange, yellow, grape, stem)
    rgb = np.choose(kind[:, None], table)
    gloss = np.choose(kind, (0.08, 0.75, 0.6, 0.5, 0.25, 0.1, 0.22, 0.75, 0.05))
    return rgb, gloss.astype(np.float32)


def still_life() -> Array:
    """Fruit in a porcelain bowl in strong side light, like an old Dutch painting."""
    size = 896
    x, y = grid(size)
    eye = np.array((0.25, 1.75, 4.3))
    way = camera(eye, (0.02, 0.56, 0), 1.38, (x - 0.5).ravel(), (0.5 - y).ravel())
    t = march(fruit_only, eye, way, *inside_ball(eye, way, (0, 0.55, 0.1), 1.75), 70)
    t = np.minimum(t, np.where(way[1] < 0, -eye[1] / np.minimum(way[1], -1e-4), np.inf))
    back = np.where(way[2] < 0, (-2.0 - eye[2]) / np.minimum(way[2], -1e-3), 1e9)
    hit = np.isfinite(t) & (t < back)
    wx, wy = eye[0] + way[0] * back, eye[1] + way[1] * back
    wall = 0.5 + 0.5 * fbm(wx * 1.3, wy * 1.3, 5, 15)
    pool = np.exp(-(((wx - 0.9) / 1.5) ** 2) - ((wy - 1.3) / 1.2) ** 2)
    rgb = color("3a2a1a") * (0.06 + 0.75 * pool * (0.6 + 0.4 * wall))[..., None]
    ray = tuple(v[hit] for v in way)
    p = tuple((eye[i] + ray[i] * t[hit]).astype(np.float32) for i in range(3))
    n = normals(fruit_solid, p)
    kind = np.argmin(np.stack(fruit_parts(*p)), 0)
    albedo, gloss = fruit_colors(p, kind)
    peel = (kind == 5) * 0.04
    n = tuple(n[i] + peel * noise3(p[0] * 34, p[1] * 34, p[2] * 34, 20 + i) for i in range(3))
    toward = unit((-0.78, 0.75, 0.45))
    direct = np.clip(dot(n, toward), 0, 1) * shadow(fruit_only, p, toward, 7, 2.6, 40)
    open_sky = occlusion(fruit_solid, p, n, 0.3)
    spot = np.exp(-((p[0] / 1.9) ** 2) - ((p[2] - 0.2) / 1.7) ** 2)
    albedo = albedo**2.2
    light = (direct * (0.25 + 0.75 * spot))[..., None] * np.array((3.6, 2.9, 2.0), np.float32)
    fill = open_sky[..., None] * np.array((0.14, 0.11, 0.09), np.float32)
    warm = clip01(-n[1] * 0.7 + 0.2) * open_sky * np.exp(-p[1] * 2)
    fill = fill + warm[..., None] * np.array((0.3, 0.17, 0.08), np.float32)
    half = [toward[i] - ray[i] for i in range(3)]
    length = np.sqrt(sum(h * h for h in half))
    glance = np.clip(dot(n, tuple(h / length for h in half)), 0, 1)
    shine = gloss * direct * (1.5 * glance**110 + 0.22 * glance**18)
    rim = (1 - np.clip(-dot(n, ray), 0, 1)) ** 4 * gloss * open_sky * 0.18
    shade = albedo * (light + fill) + shine[..., None] * 2.2 + rim[..., None]
    through = (kind == 7) * clip01(0.5 - 0.5 * dot(n, toward)) * direct.mean() * 0.5
    shade += through[..., None] * np.array((0.25, 0.03, 0.06), np.float32)
    full = rgb**2.2 * 1.6
    full[hit] = shade
    picture = filmic(full.reshape(size, size, 3), 1.15)
    return vignette(bloom(picture, 0.9, 0.25, 9), 0.4)


# --- 08 forest path --------------------------------------------------------------------------


def light_shafts(bright: Array, cx: float, cy: float, reach: float = 0.75) -> Array:
    """Smear a field outwards from a point, as light scattered in fog."""
    size = bright.shape[0]
    x, y = grid(size)
    out = bright
    step = reach / 2
    for _ in range(6):
        zoom = 1 - step
        moved = sample(out, (cx + (x - cx) * zoom) * size, (cy + (y - cy) * zoom) * size)
        out = 0.5 * (out + moved)
        step /= 2
    return out


def trunk(rgb: Array, cx: float, base: float, wide: float, tint: Array, sun: float,
          fog: float, seed: int) -> None:
    """Paint one tree trunk from its roots to the top edge, in place."""
    size = rgb.shape[0]
    x0, x1 = (int(np.clip((cx + s * wide * 2.6) * size, 0, size)) for s in (-1, 1))
    bottom = int(min((base + wide * 0.35) * size, size))
    if x1 - x0 < 2:
        return
    x, y = grid(size)
    x, y = x[:bottom, x0:x1], y[:bottom, x0:x1]
    rng = np.random.default_rng(seed)
    lean, bow = rng.uniform(-0.06, 0.06), rng.uniform(-0.02, 0.02)
    rise = base - y
    middle = cx + lean * rise + bow * np.sin(rise * 5 + seed)
    flare = 1 + 1.1 * np.exp(-np.maximum(rise, 0) / (wide * 0.9)) - 0.35 * np.clip(rise, 0, 1)
    half = wide / 2 * flare * (1 + 0.05 * noise(y * 9, y * 0 + seed, 5))
    t = (x - middle) / half
    root = 0.25 * wide * np.cos(t * 5 + seed) * np.abs(t)
    cover = ramp(1.0, 1 - 2.5 / (half * size), np.abs(t)) * (y < base + root)
    bark = fbm(x * 2.4 / wide + seed, y * 0.5 / wide, 4, 300 + seed % 7)
    round_ = np.sqrt(np.clip(1 - t * t, 0, 1))
    side = np.sign(sun - cx)
    rim = np.exp(-np.maximum(1 - side * t, 0) * 5) * np.exp(-abs(sun - cx) * 1.5)
    moss = ramp(0.1, 0.6, bark - 0.3 + np.exp(-np.maximum(rise, 0) * 5) * 0.6)
    tone = tint * (0.55 + 0.5 * round_ + 0.4 * bark)[..., None]
    tone = mix(tone, color("4a5f1f") * (0.6 + 0.5 * round_)[..., None], moss * 0.6 * (1 - fog))
    tone = tone + (rim * 0.45 * (1 - 0.5 * fog))[..., None] * color("ffd98a")
    part = rgb[:bottom, x0:x1]
    rgb[:bottom, x0:x1] = part + (tone - part) * cover[..., None]


def fern(draw: ImageDraw.ImageDraw, x: float, y: float, s: float, ink: Array,
         rng: np.random.Generator) -> None:
    """A fern with arching fronds; canvas pixels."""
    for _ in range(int(rng.integers(5, 9))):
        way, long = rng.uniform(-1.3, 1.3), s * rng.uniform(0.6, 1.1)
        shade = tuple(int(255 * min(c * rng.uniform(0.75, 1.3), 1)) for c in ink)
        for t in np.linspace(0.12, 1, 11):
            px, py = x + way * long * t * 0.8, y - long * (1.5 * t - 0.95 * t * t)
            leaf = s * 0.2 * (1 - t) ** 0.6 + 1
            dx, dy = way * 0.8, -(1.5 - 1.9 * t)
            n = max((dx * dx + dy * dy) ** 0.5, 1e-6)
            dx, dy = dx / n, dy / n
            for side in (-1, 1):
                tx, ty = px + leaf * (0.5 * dx - side * dy), py + leaf * (0.5 * dy + side * dx)
                draw.polygon([(px, py), ((px + tx) / 2 + dx * leaf * 0.25,
                                        (py + ty) / 2 + dy * leaf * 0.25), (tx, ty),
                              ((px + tx) / 2 - dx * leaf * 0.1, (py + ty) / 2 - dy * leaf * 0.1)],
                             fill=shade)


def forest_path() -> Array:
    """A path through a foggy wood with beams of morning light."""
    size = CANVAS
    x, y = grid(size)
    sun_x, sun_y = 0.56, 0.3
    far = np.hypot(x - sun_x, (y - sun_y) * 0.9)
    rgb = gradient(far, (0, "fff6cf"), (0.12, "ffe9a3"), (0.35, "c5c27c"), (0.7, "5f7a56"),
                   (1.0, "37503f"))
    horizon = 0.56
    below = clip01((y - horizon) / (1 - horizon))
    floor = gradient(below, (0, "d9cf8a"), (0.18, "a3b04a"), (0.5, "5d8a2a"), (1, "2c4a16"))
    litter = fbm(x * 6 / (0.15 + below), 6 / (0.15 + below), 5, 311)
    floor = floor * (1 + 0.35 * litter)[..., None]
    middle = 0.545 - 0.1 * below + 0.11 * np.sin(below**0.55 * 5.2) * below**0.35 * (1 - below)
    half = 0.012 + 0.25 * below**1.15
    t = (x - middle) / half + 0.12 * noise(x * 14, y * 14, 315)
    track = ramp(1.1, 0.8, np.abs(t))
    soil = gradient(below, (0, "fff0bd"), (0.2, "d3b57a"), (0.55, "8d6a3f"), (1, "4d3721"))
    ruts = 1 - 0.25 * np.exp(-((np.abs(t) - 0.45) ** 2) * 40)
    grit = fbm(x * 20 / (0.2 + below), 14 / (0.2 + below), 4, 318)
    soil = soil * (ruts * (1 + 0.25 * grit))[..., None]
    floor = mix(floor, soil, track)
    rgb = mix(rgb, floor, ramp(-0.01, 0.012, y - horizon))
    fog_tone, fog_cloud = color("f4e7ad"), fbm(x * 3, y * 6, 4, 330)
    rng = np.random.default_rng(31)
    shine = np.zeros((size, size), np.float32)
    for level in range(7):
        near = level / 6
        fog = (1 - near) ** 1.3
        base = horizon + 0.012 + 0.3 * near**2.1
        tint = mix(color("2a2118"), fog_tone * 0.85, np.float32(fog * 0.85))
        count = int(16 - 1.9 * level)
        for k in range(count):
            cx = (k + rng.uniform(0.1, 0.9)) / count
            gap = 0.035 + 0.33 * near**1.2
            if abs(cx - (0.545 - 0.07 * near)) < gap:
                continue
            wide = (0.011 + 0.075 * near**1.7) * rng.uniform(0.7, 1.25)
            trunk(rgb, cx, base + rng.uniform(-0.01, 0.02), wide, tint, sun_x, fog,
                  int(rng.integers(1 << 16)))
        canvas = Canvas(rgb)
        image, draw = canvas.pen()
        leaves = 420 + 110 * level
        for _ in range(leaves):
            px = rng.uniform(-0.02, 1.02)
            ceiling = 0.02 + 0.3 * abs(px - sun_x) ** 0.8 + 0.12 * (1 - near)
            py = ceiling * rng.uniform(0, 1.25) ** 0.9 + 0.05 * np.sin(px * 17 + level)
            r = (3 + 7 * near) * rng.uniform(0.5, 1.3)
            glow = np.exp(-np.hypot(px - sun_x, py - sun_y) * 3.4)
            leaf = mix(color("24401a"), color("c9d94a"), np.float32(glow * rng.uniform(0.5, 1.3)))
            leaf = mix(leaf, fog_tone * 0.9, np.float32(fog * 0.7)) * rng.uniform(0.8, 1.15)
            a = rng.uniform(0, TAU)
            blade = ellipse(px * size, py * size, r, r * 0.45, a, 8)
            draw.polygon([tuple(map(float, c)) for c in blade],
                         fill=tuple(int(255 * min(float(c), 1)) for c in leaf))
        for _ in range(24 + 5 * level if level > 1 else 0):
            px = rng.uniform(-0.02, 1.02)
            if abs(px - (0.545 - 0.09 * near)) < 0.05 + 0.27 * near**1.25:
                continue
            glow = np.exp(-abs(px - sun_x) * 2.5)
            ink = mix(color("2c4a1b"), color("a9bf45"), np.float32(glow * 0.8))
            ink = mix(ink, fog_tone, np.float32(fog * 0.55))
            fern(draw, px * size, (base + rng.uniform(0, 0.05)) * size, 12 + 62 * near**1.4, ink,
                 rng)
        canvas.take(image)
        rgb = canvas.rgb
        if level < 6:
            mist = np.exp(-(((y - horizon) / 0.17) ** 2)) * (0.16 + 0.14 * fog_cloud)
            rgb = mix(rgb, fog_tone, mist * 0.4 * fog + 0.04 * np.exp(-far * 3))
        if level == 4:
            shine = ramp(0.62, 0.95, rgb.mean(-1)) * np.exp(-far * 2.4)
    beams = light_shafts(shine, sun_x, sun_y, 0.82)
    comb = 0.75 + 0.6 * noise(np.arctan2(y - sun_y, x - sun_x) * 9, far * 0, 340)
    rgb = rgb + (beams * comb * 1.05)[..., None] * color("ffe7a0")
    rgb = rgb + (np.exp(-far * 7) * 0.5)[..., None] * color("fff3c4")
    rgb = 1.02 - np.exp(-(np.maximum(rgb, 0) ** 1.3) * 1.45 - 0.02)
    rgb = rgb + (rgb - rgb.mean(-1, keepdims=True)) * 0.35
    return vignette(bloom(rgb, 0.75, 0.3, 14), 0.4)


# --- 09 coral reef ---------------------------------------------------------------------------


def fish_sprite(kind: str, size: int = 360) -> tuple[Array, Array]:
    """Colour and cover of one fish that looks to the left."""
    canvas, cover = Canvas(np.zeros(3), size), Canvas(np.zeros(3), size)
    x, y = grid(size)
    tall = {"clown": 0.21, "tang": 0.22, "angel": 0.29, "silver": 0.13}[kind]
    body = curve([(0.08, 0.51), (0.15, 0.5 - tall * 0.55), (0.3, 0.5 - tall * 0.95),
                  (0.46, 0.5 - tall), (0.62, 0.5 - tall * 0.7), (0.76, 0.465), (0.8, 0.5),
                  (0.76, 0.54), (0.62, 0.5 + tall * 0.66), (0.46, 0.5 + tall * 0.95),
                  (0.3, 0.5 + tall * 0.92), (0.15, 0.5 + tall * 0.5)], True)
    tail = curve([(0.76, 0.49), (0.86, 0.4), (0.96, 0.34), (0.93, 0.42), (0.91, 0.5), (0.93, 0.58),
                  (0.96, 0.66), (0.86, 0.6), (0.76, 0.52)], True, 8)
    high = 0.17 if kind == "angel" else 0.1
    fin = curve([(0.27, 0.5 - tall * 0.85), (0.36, 0.5 - tall - high), (0.55, 0.5 - tall - high),
                 (0.7, 0.5 - tall * 0.55 - high * 0.9), (0.66, 0.5 - tall * 0.5)], True, 8)
    anal = curve([(0.42, 0.5 + tall * 0.85), (0.56, 0.5 + tall + high), (0.7, 0.5 + tall * 0.6
                  + high * 0.8), (0.68, 0.5 + tall * 0.4)], True, 8)
    main, edge, fins = {
        "clown": ("ff7414", "ffb04a", "ff8a22"), "tang": ("1c4be0", "4f8cff", "ffd21f"),
        "angel": ("ffd52b", "fff08a", "ffc21a"), "silver": ("9fc4d8", "e9f6ff", "b9d4e4"),
    }[kind]
    rays = 0.82 + 0.18 * np.sin(np.arctan2(y - 0.5, x - 0.45) * 70)
    for part in (tail, fin, anal):
        canvas.fill(part, color(fins) * rays[..., None])
        cover.fill(part, "ffffff", 0.97)
        if kind in ("clown", "tang"):
            outline = np.concatenate([part, part[:1]])
            canvas.line(outline, 0.014, "14101c", tip=False)
    cover.fill(body, "ffffff")
    flank = (y - 0.5) / tall
    tone = mix(color(edge), color(main), ramp(0.75, -0.1, flank))
    tone = tone * (1.08 - 0.5 * ramp(-0.1, -1.0, flank))[..., None]
    scales = np.sin(x * 150 + 0.8 * np.sin(y * 160)) * np.sin(y * 160)
    tone = tone * (1 + 0.05 * scales)[..., None]
    bend = 0.12 * flank**2
    if kind == "clown":
        for at, wide in ((0.27, 0.042), (0.51, 0.05), (0.73, 0.024)):
            off = np.abs(x - at + bend - 0.05 * np.cos(flank * 2.2) * (at > 0.4))
            tone = mix(tone, color("15101a"), ramp(wide + 0.016, wide + 0.008, off))
            tone = mix(tone, color("fbfdff") * (1.02 - 0.3 * ramp(-0.2, -1, flank))[..., None],
                       ramp(wide, wide - 0.01, off))
    elif kind == "tang":
        curve_y = 0.45 + 0.11 * np.sin((x - 0.2) * 5)
        mark = ramp(0.05, 0.035, np.abs(y - curve_y)) * ramp(0.26, 0.3, x)
        tone = mix(tone, color("0a0a2a"), mark)
        tone = mix(tone, color("ffd21f"), ramp(0.7, 0.76, x))
    elif kind == "angel":
        for at in (0.2, 0.42, 0.62):
            tone = mix(tone, color("1b1530"), ramp(0.04, 0.03, np.abs(x - at + bend * 0.6)))
    canvas.fill(body, tone)
    gill = curve([(0.325, 0.42), (0.35, 0.5), (0.325, 0.58)])
    if kind != "silver":
        canvas.line(gill, 0.01, "3a1408", 0.35)
    wing = curve([(0.4, 0.53), (0.5, 0.49), (0.55, 0.56), (0.47, 0.62)], True, 8)
    canvas.fill(wing, color(fins) * rays[..., None] * 1.05, 0.9)
    canvas.line(np.concatenate([wing, wing[:1]]), 0.008, "2a1010", 0.5, tip=False)
    canvas.disc(0.185, 0.465, 0.038, "fff4d8")
    canvas.disc(0.183, 0.466, 0.026, "0c0a12")
    canvas.disc(0.174, 0.456, 0.009, "ffffff")
    canvas.line(curve([(0.085, 0.525), (0.12, 0.54), (0.14, 0.535)]), 0.009, "2a0f08", 0.7)
    return canvas.rgb, cover.rgb[..., 0]


def paste(canvas: Canvas, sprite: tuple[Array, Array], cx: float, cy: float, wide: float,
          flip: bool, turn: float, haze: float, tint: Array) -> None:
    """Lay a sprite on the canvas: scaled, mirrored, turned by degrees and faded into tint."""
    rgb, cover = sprite
    side = max(int(wide * canvas.size), 4)
    rgba = np.dstack([mix(rgb, tint, np.float32(haze)), cover])
    image = Image.fromarray((clip01(rgba[:, ::-1] if flip else rgba) * 255).astype(np.uint8))
    image = image.resize((side, side), Image.Resampling.LANCZOS)
    image = image.rotate(turn, Image.Resampling.BICUBIC)
    part = from_image(image)
    x0, y0 = int(cx * canvas.size - side / 2), int(cy * canvas.size - side / 2)
    a0, b0 = max(-x0, 0), max(-y0, 0)
    a1, b1 = min(side, canvas.size - x0), min(side, canvas.size - y0)
    if a1 <= a0 or b1 <= b0:
        return
    where = (slice(y0 + b0, y0 + b1), slice(x0 + a0, x0 + a1))
    part = part[b0:b1, a0:a1]
    canvas.blend(where, part[..., 3], np.zeros(3))
    canvas.rgb[where] += part[..., :3] * part[..., 3:]


def branch_coral(draw: ImageDraw.ImageDraw, x: float, y: float, angle: float, long: float,
                 wide: float, depth: int, ink: Array, rng: np.random.Generator) -> None:
    """A coral that forks again and again; canvas pixels."""
    ex, ey = x + np.cos(angle) * long, y + np.sin(angle) * long
    shade = ink * (1.05 - 0.09 * depth)
    fill = tuple(int(255 * min(float(c), 1)) for c in shade)
    lite = tuple(int(255 * min(float(c) * 1.3 + 0.06, 1)) for c in shade)
    r = wide / 2
    draw.line([(x, y), (ex, ey)], fill=fill, width=max(int(wide), 2))
    draw.ellipse((ex - r, ey - r, ex + r, ey + r), fill=fill)
    draw.line([(x - r * 0.35, y - r * 0.2), (ex - r * 0.35, ey - r * 0.2)], fill=lite,
              width=max(int(wide * 0.32), 1))
    if depth == 0:
        tip = r * 0.75
        draw.ellipse((ex - tip, ey - tip, ex + tip, ey + tip), fill=lite)
        return
    for side in (-1, 1):
        turn = side * rng.uniform(0.22, 0.6)
        branch_coral(draw, ex, ey, angle * 0.9 - 0.157 + turn, long * rng.uniform(0.7, 0.9),
                     wide * 0.78, depth - 1, ink, rng)


def brain_coral(canvas: Canvas, cx: float, cy: float, r: float, low: str, high: str) -> None:
    """A round coral with winding grooves."""
    x, y = grid(canvas.size)
    dx, dy = (x - cx) / r, (y - cy) / (r * 0.8)
    far = np.hypot(dx, dy)
    dz = np.sqrt(np.clip(1 - far**2, 0, 1))
    u, v = dx * (1.3 - 0.3 * dz), dy * (1.3 - 0.3 * dz)
    maze = np.sin(9 * u + 5 * fbm(u * 3, v * 3, 2, 401)) * np.sin(
        9 * v + 5 * fbm(u * 3 + 4, v * 3, 2, 405))
    tone = mix(color(low), color(high), ramp(-0.35, 0.45, maze))
    light = clip01(-0.35 * dx - 0.7 * dy + 0.55 * dz) * 0.95 + 0.18
    canvas.rgb = mix(canvas.rgb, tone * light[..., None], ramp(1, 0.985, far))


def tube_sponge(canvas: Canvas, cx: float, base: float, wide: float, tall: float,
                tint: str) -> None:
    """An upright hollow sponge."""
    x, _ = grid(canvas.size)
    t = (x - cx) / wide
    shade = clip01(0.75 - 0.5 * t) * (1 + 0.2 * np.sin(t * 22))
    body = curve([(cx - wide * 0.6, base), (cx - wide * 0.8, base - tall * 0.5),
                  (cx - wide, base - tall), (cx + wide, base - tall),
                  (cx + wide * 0.8, base - tall * 0.5), (cx + wide * 0.6, base)], True)
    canvas.fill(body, color(tint) * shade[..., None])
    canvas.fill(ellipse(cx, base - tall, wide * 1.06, wide * 0.42), color(tint) * 1.25)
    canvas.fill(ellipse(cx, base - tall, wide * 0.72, wide * 0.26), color(tint) * 0.18)


def anemone(canvas: Canvas, cx: float, base: float, r: float, seed: int) -> None:
    """A tuft of soft tentacles with bright tips."""
    rng = np.random.default_rng(seed)
    for k in range(90):
        t = k / 89
        way = rng.uniform(-1, 1)
        x0 = cx + way * r * 0.55
        long = r * (1.15 - 0.35 * abs(way)) * rng.uniform(0.8, 1.1) * (1.1 - 0.45 * t)
        bend = way * 0.6 + rng.normal(0, 0.16)
        line = curve([(x0, base + 0.02 * t), (x0 + bend * long * 0.3, base - long * 0.55),
                      (x0 + bend * long * 0.8 + 0.01 * np.sin(k), base - long)], steps=8)
        tone = mix(color("8a3f7a"), color("f29ac0"), np.float32(0.25 + 0.75 * t))
        width = np.linspace(0.017, 0.012, len(line)) * (0.7 + 0.5 * t)
        canvas.line(line, width, tone * 0.8, tip=False)
        canvas.line(line - (0.0022, 0), width * 0.4, tone * 1.15, tip=False)
        canvas.disc(line[-1][0], line[-1][1], 0.0085 * (0.7 + 0.5 * t), "ffe3ef")


def coral_reef() -> Array:
    """Clownfish and other fish over a coral reef, with sunbeams from the surface."""
    size = CANVAS
    x, y = grid(size)
    sea = gradient(y, (0, "9ff0ee"), (0.12, "45c8e0"), (0.4, "1487c4"), (0.75, "0b4f93"),
                   (1, "083a6e"))
    sun_x, sun_y = 0.4, -0.28
    angle = np.arctan2(x - sun_x, y - sun_y)
    rays = ramp(0.05, 0.6, fbm(angle * 11, y * 0.35, 4, 420)) * ramp(0.95, 0.05, y)
    sea = sea + (rays * 0.42)[..., None] * color("c8fff4")
    web = 1 - np.abs(noise(x * 7 + noise(x * 9, y * 40, 2), y * 34, 425))
    sea = sea + (web**6 * ramp(0.2, 0.0, y) * 0.5)[..., None]
    sea = sea + (np.exp(-np.hypot(x - 0.4, y * 1.3) * 4) * 0.4)[..., None] * color("eafff4")
    rgb = sea
    for k, (level, tone) in enumerate((("0.66", "1a76b4"), ("0.73", "125d97"))):
        edge = float(level) + 0.16 * fbm(x[0] * 3.1 + 5 * k, x[0] * 0, 6, 430 + k)
        rgb = mix(rgb, color(tone), ramp(-0.004, 0.006, y - edge) * 0.8)
    edge = 0.8 + 0.025 * np.sin(x * 6 + 0.7)
    below = clip01((y - edge) / 0.2)
    px, pz = (x - 0.5) / (0.25 + below), 1.6 / (0.25 + below)
    warp = fbm(px * 3, pz * 3, 3, 440) * 0.4
    caustic = (1 - np.abs(noise(px * 5 + warp, pz * 6 + warp, 445))) ** 7
    sand = mix(color("4f9fb0"), color("d9cfa2"), ramp(0, 0.9, below))
    sand = sand * (0.75 + 0.14 * fbm(px * 14, pz * 18, 4, 450))[..., None]
    sand = sand + (caustic * 0.4)[..., None]
    rgb = mix(rgb, sand, ramp(-0.006, 0.01, y - edge))
    canvas = Canvas(rgb)
    haze = color("2a93c4")
    small = fish_sprite("silver", 200)
    rng = np.random.default_rng(45)
    for _ in range(34):
        t = rng.uniform(0, TAU)
        d = np.sqrt(rng.uniform())
        paste(canvas, small, 0.76 + 0.2 * d * np.cos(t), 0.25 + 0.085 * d * np.sin(t),
              rng.uniform(0.035, 0.06), False, rng.normal(-6, 6), 0.45, haze)
    reef(canvas, rng, haze)
    fish = {k: fish_sprite(k) for k in ("clown", "tang", "angel")}
    for kind, cx, cy, wide, flip, turn, fade in (
        ("tang", 0.16, 0.3, 0.15, True, 8, 0.3), ("tang", 0.27, 0.38, 0.13, True, 4, 0.35),
        ("angel", 0.84, 0.47, 0.22, False, -4, 0.12), ("angel", 0.68, 0.4, 0.13, False, 2, 0.35),
        ("clown", 0.73, 0.655, 0.19, False, 6, 0.05), ("clown", 0.42, 0.53, 0.4, False, -7, 0.0),
    ):
        paste(canvas, fish[kind], cx, cy, wide, flip, turn, fade, haze)
    for bx, by, n in ((0.17, 0.62, 9), (0.6, 0.35, 8), (0.9, 0.3, 6)):
        for k in range(n):
            px, py = bx + 0.02 * np.sin(k * 1.9), by - 0.05 * k
            r = 0.004 + 0.009 * rng.uniform() ** 1.5
            canvas.disc(px, py, r, "d9fbff", 0.25)
            canvas.line(ellipse(px, py, r, r), r * 0.28, "f0ffff", 0.75, tip=False)
            canvas.disc(px - r * 0.35, py - r * 0.35, r * 0.25, "ffffff", 0.9)
    out = canvas.rgb + (rays * 0.16 * ramp(1, 0.3, y))[..., None] * color("d8fff0")
    return vignette(bloom(out, 0.8, 0.3, 10), 0.3)


def reef(canvas: Canvas, rng: np.random.Generator, haze: Array) -> None:
    """The corals, sponges and the anemone on the sea floor."""
    image, draw = canvas.pen()
    for px, py, s, ink, fade in ((0.06, 0.8, 0.8, "b04a8a", 0.35), (0.6, 0.8, 0.7, "d8733c", 0.4),
                                 (0.9, 0.79, 0.9, "7a4fb0", 0.35),
                                 (0.33, 0.81, 0.6, "c9a13c", 0.45)):
        for k in range(5):
            branch_coral(draw, (px + 0.02 * (k - 2)) * canvas.size, py * canvas.size,
                         -np.pi / 2 + 0.3 * (k - 2), 44 * s, 15 * s, 4,
                         mix(color(ink), haze, np.float32(fade)), rng)
    canvas.take(image)
    brain_coral(canvas, 0.64, 0.86, 0.1, "5a6b1c", "c8cf5a")
    for k, (dx, tall, wide) in enumerate(((0, 0.2, 0.02), (0.05, 0.27, 0.024), (0.1, 0.17, 0.021),
                                          (0.145, 0.23, 0.02))):
        tint = ("c46fe0", "e0a030")[k % 2]
        tube_sponge(canvas, 0.8 + dx, 0.93 + 0.01 * (k % 2), wide, tall, tint)
    image, draw = canvas.pen()
    for k in range(7):
        branch_coral(draw, (0.1 + 0.018 * (k - 3)) * canvas.size, 0.98 * canvas.size,
                     -np.pi / 2 + 0.26 * (k - 3), 62, 24, 5, color("ff5a4a"), rng)
    for k in range(5):
        branch_coral(draw, (0.93 + 0.014 * (k - 2)) * canvas.size, 1.01 * canvas.size,
                     -np.pi / 2 + 0.27 * (k - 2), 46, 18, 4, color("ff9d2e"), rng)
    canvas.take(image)
    brain_coral(canvas, 0.27, 0.98, 0.13, "7a2f5e", "e88bb0")
    anemone(canvas, 0.5, 0.93, 0.17, 6)
    brain_coral(canvas, 0.73, 1.01, 0.09, "1f6b5c", "6fd0a8")


# --- 12 great wave ---------------------------------------------------------------------------


SEA_INK = "14264d"


def across(curves: Sequence[Sequence[Sequence[float]]], s: float, steps: int = 16) -> Array:
    """The stream line at share s between the first and the last curve."""
    rows = np.array(curves, np.float32)
    share = np.linspace(0, 1, len(rows))
    points = [[np.interp(s, share, rows[:, j, k]) for k in (0, 1)] for j in range(rows.shape[1])]
    return curve(points, steps=steps)


def swell(canvas: Canvas, curves: Sequence[Sequence[Sequence[float]]], tones: Sequence[str],
          bands: int) -> None:
    """Water painted as stripes that follow the stream."""
    for k in range(bands):
        a, b = across(curves, k / bands), across(curves, (k + 1) / bands)
        canvas.fill(np.concatenate([a, b[::-1]]), tones[k % len(tones)])
    for k in range(bands + 1):
        canvas.line(across(curves, k / bands), 0.0035, SEA_INK, 0.9, tip=k not in (0, bands))


def claw(canvas: Canvas, x: float, y: float, angle: float, long: float, depth: int,
         rng: np.random.Generator) -> None:
    """A hooked finger of foam that splits into smaller ones."""
    points, a = [(x, y)], angle
    for k in range(6):
        a += (0.12 + 0.1 * k) * 0.9
        x, y = x + np.cos(a) * long / 6, y + np.sin(a) * long / 6
        points.append((x, y))
    line = curve(points, steps=5)
    width = long * 0.42 * (1 - np.linspace(0, 1, len(line)) ** 1.4) + 0.001
    canvas.fill(ribbon(line, width + 0.0055, False), SEA_INK)
    if depth:
        for at, turn in ((1, -0.9), (2, 0.7), (3, -0.75), (4, 0.6)):
            px, py = points[at]
            claw(canvas, px, py, angle + 0.12 * at + turn + rng.uniform(-0.2, 0.2),
                 long * rng.uniform(0.42, 0.58), depth - 1, rng)
    canvas.fill(ribbon(line, width, False), "f4efdf")


def foam(canvas: Canvas, line: Array, size: float, lean: float, seed: int, depth: int = 1) -> None:
    """A crest of foam along a line: claws, then round lumps over their roots."""
    rng = np.random.default_rng(seed)
    tangent = np.gradient(line, axis=0)
    heading = np.arctan2(tangent[:, 1], tangent[:, 0])
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    count = int(length[-1] / size * 1.7)
    for k in range(count):
        at = length[-1] * (k + 0.5) / count
        px, py, h = (float(np.interp(at, length, v)) for v in (line[:, 0], line[:, 1], heading))
        claw(canvas, px, py, h - lean + rng.uniform(-0.25, 0.25), size * rng.uniform(0.8, 1.35),
             depth, rng)
    lumps = int(length[-1] / size * 3.4)
    spots = []
    for _ in range(lumps):
        at = rng.uniform(0, length[-1])
        px, py = (float(np.interp(at, length, line[:, i])) for i in (0, 1))
        spots.append((px + rng.normal(0, size * 0.2), py + rng.normal(0, size * 0.2),
                      size * rng.uniform(0.18, 0.4)))
    for px, py, r in spots:
        canvas.disc(px, py, r + 0.0028, SEA_INK)
    for px, py, r in spots:
        canvas.disc(px, py, r, "f4efdf")
    for px, py, r in spots[::2]:
        bow = ellipse(px, py, r * 0.6, r * 0.6)[8:34]
        canvas.line(bow, 0.0028, "7fa6c0", 0.9)


def boat(canvas: Canvas, cx: float, cy: float, s: float, turn: float) -> None:
    """A long narrow boat with a row of crouching rowers."""
    c, k = np.cos(turn), np.sin(turn)

    def put(points: Sequence[Sequence[float]], smooth: bool = True) -> Array:
        p = curve(points, True, 8) if smooth else np.asarray(points, np.float32)
        return np.stack([cx + s * (p[:, 0] * c - p[:, 1] * k),
                         cy + s * (p[:, 0] * k + p[:, 1] * c)], -1)

    for i in range(7):
        px = -0.5 + 0.15 * i
        outlined(canvas, put([(px - 0.07, 0), (px - 0.06, -0.13), (px, -0.16), (px + 0.07, -0.1),
                              (px + 0.08, 0)]), "3d6ea8" if i % 2 else "26487d", SEA_INK, 0.002)
        outlined(canvas, put([(px + 0.02, -0.13), (px + 0.045, -0.2), (px + 0.1, -0.2),
                              (px + 0.1, -0.13)]), "f0cda2", SEA_INK, 0.002)
    hull = put([(-1.05, -0.2), (-0.7, -0.04), (0, 0.0), (0.6, -0.06), (1.15, -0.32), (0.75, 0.07),
                (0, 0.16), (-0.7, 0.1)])
    outlined(canvas, hull, "d9b26a", SEA_INK, 0.003)
    canvas.line(put([(-0.95, -0.1), (-0.5, 0.04), (0.2, 0.06), (0.9, -0.14)])[:24], 0.004,
                "8a6430", 0.9)


def fuji(canvas: Canvas) -> None:
    """The distant mountain with its snow cap."""
    left, right = (0.49, 0.66), (0.94, 0.66)
    slope = curve([left, (0.58, 0.60), (0.65, 0.53), (0.692, 0.475), (0.705, 0.47), (0.725, 0.473),
                   (0.738, 0.47), (0.752, 0.476), (0.795, 0.53), (0.86, 0.60), right])
    _, y = grid(canvas.size)
    tone = gradient((y - 0.47) / 0.19, (0, "35588f"), (0.55, "5a80ab"), (1, "a9bfc6"))
    shape = np.concatenate([slope, [right, left]]).astype(np.float32)
    outlined(canvas, shape, tone, SEA_INK, 0.003)
    snow = [(0.692, 0.475), (0.705, 0.47), (0.725, 0.473), (0.738, 0.47), (0.752, 0.476),
            (0.778, 0.509), (0.765, 0.512), (0.757, 0.535), (0.747, 0.512), (0.737, 0.52),
            (0.73, 0.552), (0.72, 0.518), (0.709, 0.514), (0.698, 0.54), (0.69, 0.515),
            (0.68, 0.522), (0.664, 0.511)]
    outlined(canvas, np.array(snow, np.float32), "f7f2e4", SEA_INK, 0.0022)


def great_wave() -> Array:
    """A towering wave with claws of foam, a far mountain and a red sun, as a woodblock print."""
    x, y = grid()
    sky = gradient(y, (0, "c9a878"), (0.12, "e6cfa0"), (0.45, "f3e6c6"), (0.7, "e9d3ab"))
    canvas = Canvas(sky)
    canvas.disc(0.73, 0.25, 0.105, "cf3226")
    for level, left, right in ((0.3, 0.5, 0.78), (0.335, 0.66, 1.02), (0.41, 0.62, 0.9)):
        bar = curve([(left, level), (left + 0.05, level - 0.011), (right - 0.05, level - 0.009),
                     (right, level), (right - 0.06, level + 0.008), (left + 0.06, level + 0.009)],
                    True)
        canvas.fill(bar, "f6ead0", 0.93)
    fuji(canvas)
    far = [[(0.3, 0.66), (0.5, 0.645), (0.66, 0.665), (0.82, 0.64), (1.05, 0.66)],
           [(0.3, 0.95), (0.5, 0.93), (0.66, 0.94), (0.82, 0.88), (1.05, 0.9)]]
    swell(canvas, far, ("a9c3c9", "7fa6bd", "5b88ae", "d7dfd3"), 11)
    boat(canvas, 0.76, 0.715, 0.13, -0.1)
    side = [[(1.06, 0.62), (0.97, 0.64), (0.9, 0.7), (0.8, 0.8), (0.68, 0.86), (0.5, 0.9)],
            [(1.06, 0.82), (0.97, 0.84), (0.88, 0.87), (0.78, 0.92), (0.66, 0.97), (0.5, 1.0)],
            [(1.06, 1.06), (0.97, 1.06), (0.87, 1.06), (0.77, 1.06), (0.65, 1.06), (0.5, 1.06)]]
    swell(canvas, side, ("e9ead9", "8db0c4", "2d5a96", "1b3a70", "5b88ae"), 12)
    foam(canvas, across(side, 0.0)[:52][::-1], 0.03, 1.9, 91)
    main = [
        [(1.06, 0.96), (0.66, 0.88), (0.5, 0.77), (0.425, 0.62), (0.43, 0.47), (0.5, 0.405),
         (0.585, 0.45)],
        [(1.06, 1.0), (0.58, 0.93), (0.4, 0.8), (0.31, 0.62), (0.32, 0.42), (0.42, 0.305),
         (0.55, 0.33)],
        [(1.06, 1.04), (0.48, 0.99), (0.24, 0.86), (0.14, 0.63), (0.16, 0.38), (0.28, 0.22),
         (0.43, 0.205)],
        [(1.06, 1.09), (0.4, 1.08), (0.05, 0.95), (-0.06, 0.65), (-0.04, 0.38), (0.08, 0.19),
         (0.26, 0.135)],
    ]
    swell(canvas, main, ("12305f", "2b5a98", "dfe5da", "2b5a98", "12305f", "86aec6"), 21)
    back = curve([(-0.1, 0.6), (-0.06, 0.38), (0.06, 0.2), (0.16, 0.155), (0.26, 0.135)])
    crest = curve([(-0.04, 0.3), (0.05, 0.2), (0.16, 0.15), (0.27, 0.135), (0.43, 0.205),
                   (0.55, 0.33), (0.59, 0.46)], steps=16)
    canvas.line(back, 0.006, SEA_INK)
    foam(canvas, crest, 0.062, 0.15, 95, 2)
    inner = curve([(0.1, 0.23), (0.25, 0.2), (0.38, 0.25), (0.49, 0.35), (0.54, 0.44)])
    foam(canvas, inner, 0.045, -0.75, 97, 2)
    boat(canvas, 0.64, 0.895, 0.17, 0.1)
    front = [[(-0.06, 0.84), (0.06, 0.8), (0.17, 0.83), (0.28, 0.93), (0.44, 0.985), (0.75, 1.0)],
             [(-0.06, 1.06), (0.06, 1.06), (0.17, 1.06), (0.28, 1.07), (0.44, 1.08), (0.75, 1.09)]]
    swell(canvas, front, ("e9ead9", "86aec6", "2b5a98", "12305f"), 8)
    foam(canvas, across(front, 0.0)[:50], 0.036, 0.9, 93)
    rng = np.random.default_rng(98)
    for _ in range(130):
        a, d = rng.uniform(-0.9, 0.9), rng.uniform(0.02, 0.26)
        px, py = 0.45 + d * np.cos(a) * 1.1 + 0.05, 0.24 + d * np.sin(a) * 1.2
        r = 0.0016 + 0.0045 * rng.uniform() ** 3
        canvas.disc(px, py, r + 0.0014, SEA_INK, 0.8)
        canvas.disc(px, py, r, "f7f2e4")
    seal(canvas)
    paper = 1 + 0.05 * fbm(x * 3, y * 90, 4, 121) + 0.04 * fbm(x * 70, y * 70, 2, 125)
    worn = 1 - 0.05 * ramp(0.1, 0.7, fbm(x * 4, y * 4, 5, 128))
    return vignette(canvas.rgb * (paper * worn)[..., None] * color("fff8ea"), 0.12)


def seal(canvas: Canvas) -> None:
    """A red stamp with invented characters in the upper right corner."""
    strip = glyphs()
    x, y = grid(canvas.size)
    u, v = (x - 0.915) / 0.05, (y - 0.05) / 0.15
    inside = (u > 0) & (u < 1) & (v > 0) & (v < 1)
    row = np.clip(v * 3, 0, 2.999)
    mark = sample(strip, np.floor(row) * 96 + 64 + np.clip(u, 0.03, 0.97) * 31, (row % 1) * 31)
    tone = mix(color("c23428"), color("f6e8cc"), ramp(0.3, 0.6, mark))
    canvas.rgb = np.where(inside[..., None], tone, canvas.rgb)


# fmt: on

# --- the set ---------------------------------------------------------------------------------


class Example(NamedTuple):
    """One picture: its file, how it is drawn, and its words."""

    file: str
    render: Callable[[], Array]
    title: str
    alt: str
    prompt: str  # what a person would have typed for it: the game's true prompt, never a model's


EXAMPLES = (
    Example(
        "01-mountain-lake.jpg",
        mountain_lake,
        "Mountain lake at sunset",
        "Snowy mountains glow in the light of the setting sun and are mirrored in a calm lake"
        " between dark fir trees.",
        "snowy mountains mirrored in a calm lake at sunset, dark fir trees, purple sky,"
        " landscape painting, detailed",
    ),
    Example(
        "02-spaceship.jpg",
        spaceship,
        "Spaceship above a planet",
        "A white and red starfighter with glowing blue engines flies over a blue planet, with a"
        " small moon, stars and a purple nebula behind it.",
        "a white and red spaceship flying over a blue planet, stars, purple nebula, moon,"
        " science fiction concept art",
    ),
    Example(
        "03-neon-city.jpg",
        neon_city,
        "Neon city in the rain",
        "A person with an umbrella walks down a wet street at night between tall buildings and"
        " colourful neon signs that shine on the ground.",
        "a person with an umbrella walking down a neon city street at night, rain,"
        " reflections, cyberpunk, cinematic",
    ),
    Example(
        "04-cottage.jpg",
        cottage,
        "Cottage in a meadow",
        "An oil painting of a cottage with an orange roof and a blue door, between two trees in a"
        " meadow full of flowers.",
        "oil painting of a cottage with an orange roof in a meadow of flowers, trees, blue"
        " sky, impressionism",
    ),
    Example(
        "05-portrait.jpg",
        portrait,
        "Woman with a halo of flowers",
        "A poster portrait of a woman with long auburn hair and a crown of flowers in front of an"
        " ornate round halo.",
        "art nouveau poster, portrait of a beautiful woman with long red hair and a crown of"
        " flowers, ornate halo, illustration",
    ),
    Example(
        "06-dog.jpg",
        dog,
        "Golden puppy",
        "A golden retriever puppy with a red collar looks at the viewer and pants, in front of a"
        " blurred green garden.",
        "portrait of a cute golden retriever puppy with a red collar, green garden"
        " background, bokeh, digital art",
    ),
    Example(
        "07-still-life.jpg",
        still_life,
        "Still life with fruit",
        "Apples, oranges, bananas and a pear lie in a blue and white bowl on a dark wooden table,"
        " lit from one side, with grapes beside it.",
        "still life of fruit in a blue and white bowl on a wooden table, apples, oranges,"
        " grapes, dark background, dramatic light",
    ),
    Example(
        "08-forest-path.jpg",
        forest_path,
        "Forest path in morning light",
        "A path leads through a foggy green forest towards the sun, whose rays fall between the"
        " trunks.",
        "a path through a green forest, morning light, sun rays between the trees, fog,"
        " fantasy landscape",
    ),
    Example(
        "09-coral-reef.jpg",
        coral_reef,
        "Clownfish on a coral reef",
        "An orange clownfish and other tropical fish swim over a colourful coral reef in beams of"
        " sunlight.",
        "orange clownfish swimming over a colorful coral reef, tropical fish, underwater, sun"
        " rays, illustration",
    ),
    Example(
        "10-desert-moon.jpg",
        desert_caravan,
        "Desert under a big moon",
        "A caravan of camels crosses sand dunes at dusk below a huge full moon.",
        "a caravan of camels in the desert under a huge full moon, sand dunes, dusk, stars,"
        " matte painting",
    ),
    Example(
        "11-kaleidoscope.jpg",
        kaleidoscope,
        "Kaleidoscope fractal",
        "A symmetric, eight-armed fractal pattern in bright rainbow colours on dark purple.",
        "psychedelic fractal kaleidoscope, symmetrical mandala, rainbow colors, intricate,"
        " abstract art",
    ),
    Example(
        "12-great-wave.jpg",
        great_wave,
        "Great wave",
        "A woodblock-style print of a towering blue wave with white foam, two small boats, a"
        " snow-capped mountain and a red sun.",
        "japanese woodblock print of a great blue wave, boats, red sun, mountain in the"
        " background, ukiyo-e",
    ),
)


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Write to a temporary name in the same folder, then rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary)
    os.replace(temporary, path)


def save_picture(rgb: Array, path: Path, seed: int) -> None:
    """Write one finished picture as JPEG."""
    image = finished(rgb, seed=seed)
    replace_file(path, lambda p: image.save(p, "JPEG", quality=QUALITY, subsampling=0))


def save_list(path: Path) -> None:
    """Write the titles, alternative texts and prompts."""
    names = ("file", "title", "alt", "prompt")
    rows = [{name: getattr(example, name) for name in names} for example in EXAMPLES]
    text = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    replace_file(path, lambda p: p.write_text(text, encoding="utf-8"))


def main() -> None:
    """Read the command line and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("assets/examples"), help="output folder")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN", help="numbers to draw")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for seed, example in enumerate(EXAMPLES, 1):
        if args.only and example.file[:2] not in args.only:
            continue
        save_picture(example.render(), args.out / example.file, seed)
        print(args.out / example.file)
    save_list(args.out / "examples.json")


if __name__ == "__main__":
    main()
