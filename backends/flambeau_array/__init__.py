"""What the backends over array libraries with NumPy's interface share: NumPy's and CuPy's kernels, written once.

A kernel that needs no library is a plain function of its arrays. One that does is made by a function of the library's
module, ``xp``, when the backend builds its table, so that a call pays for nothing:

    cat = flambeau_array.shape.cat(numpy)

A backend takes what serves it from each theme and puts its own, faster kernels beside it.
"""
